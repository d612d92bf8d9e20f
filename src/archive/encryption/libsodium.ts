/**
 * libsodium's secretstream as WAL-G uses it (wal-g: internal/crypto/libsodium/writer.go and reader.go): a header of 24 bytes, then chunks of 8192
 * bytes, each 17 bytes longer than what it holds. All but the last are full and carry the tag MESSAGE. The last carries FINAL and fewer than
 * 8192 bytes, if need be none: WAL-G takes FINAL on a full chunk for an early end.
 */
import sodium from 'sodium-native';
import { ByteSource } from '../byte-source.ts';
import type { Chunks } from '../compression/codec.ts';
import { type ObjectEncryption, WrongKeyError } from './cipher.ts';

/** Content of a full chunk. */
const chunkBytes = 8192;
const tagBytes = sodium.crypto_secretstream_xchacha20poly1305_ABYTES;
const sealedChunkBytes = chunkBytes + tagBytes;
const headerBytes = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES;
const tags = {
  message: sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
  final: sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL,
} as const;
/** Chunks that are handed on together: 512 KiB, so that what comes behind is not called for every 8 KiB. */
const batchChunks = 64;

/** How a stream without its FINAL chunk is read, as it is when it was cut between two chunks. */
export interface LibsodiumOptions {
  /** True, to salvage what is left of an object: its end counts as the end. Default false: it is damaged. */
  readonly acceptMissingEnd?: boolean;
}

/** @param key of 32 bytes */
export function libsodium(key: Buffer, options: LibsodiumOptions = {}): ObjectEncryption {
  return {
    name: 'libsodium',
    encrypt: (chunks) => encrypt(chunks, key),
    decrypt: (chunks) => decrypt(chunks, key, options.acceptMissingEnd ?? false),
    recognizes: (head) => {
      const sealed = head.subarray(headerBytes, headerBytes + sealedChunkBytes);
      return sealed.length >= tagBytes && new PullStream(head.subarray(0, headerBytes), key).open(sealed) !== undefined;
    },
  };
}

async function* encrypt(chunks: Chunks, key: Buffer): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  const state = Buffer.alloc(sodium.crypto_secretstream_xchacha20poly1305_STATEBYTES);
  const header = Buffer.alloc(headerBytes);
  sodium.crypto_secretstream_xchacha20poly1305_init_push(state, header, key);
  const seal = (content: Buffer, tag: number): Buffer => {
    const sealed = Buffer.allocUnsafe(content.length + tagBytes);
    sodium.crypto_secretstream_xchacha20poly1305_push(state, sealed, content, null, tag);
    return sealed;
  };
  try {
    let batch: Buffer[] = [header];
    for (;;) {
      const content = await source.upTo(chunkBytes);
      batch.push(seal(content, content.length === chunkBytes ? tags.message : tags.final));
      if (content.length < chunkBytes || batch.length > batchChunks) {
        yield Buffer.concat(batch);
        batch = [];
      }
      if (content.length < chunkBytes) return;
    }
  } finally {
    await source.close();
  }
}

async function* decrypt(chunks: Chunks, key: Buffer, acceptMissingEnd: boolean): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  try {
    const header = await source.upTo(headerBytes);
    if (header.length < headerBytes) throw new WrongKeyError('it is too short to be encrypted with libsodium');
    const stream = new PullStream(header, key);
    let batch: Buffer[] = [];
    for (let isFirst = true; ; isFirst = false) {
      const sealed = await source.upTo(sealedChunkBytes);
      if (sealed.length === 0 && acceptMissingEnd) break;
      if (sealed.length < tagBytes) throw new SyntaxError('its encrypted data ends early');
      const opened = stream.open(sealed);
      if (opened === undefined && isFirst) throw new WrongKeyError('its first bytes do not fit the libsodium key');
      if (opened === undefined) throw new SyntaxError('its encrypted data is not what was written');
      batch.push(opened.content);
      if (opened.isFinal && sealed.length === sealedChunkBytes)
        throw new SyntaxError('its encrypted data ends with a full chunk, which WAL-G never writes');
      // A chunk that is not full holds all that was left.
      if (opened.isFinal) break;
      if (batch.length < batchChunks) continue;
      yield Buffer.concat(batch);
      batch = [];
    }
    if (batch.length > 0) yield Buffer.concat(batch);
  } finally {
    await source.close();
  }
}

/** Opens chunks one after the other. */
class PullStream {
  readonly #state = Buffer.alloc(sodium.crypto_secretstream_xchacha20poly1305_STATEBYTES);
  readonly #tag = Buffer.alloc(1);

  constructor(header: Buffer, key: Buffer) {
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(this.#state, header, key);
  }

  /** @returns undefined when the chunk does not fit the key and what came before */
  open(sealed: Buffer): { readonly content: Buffer; readonly isFinal: boolean } | undefined {
    const content = Buffer.allocUnsafe(sealed.length - tagBytes);
    try {
      sodium.crypto_secretstream_xchacha20poly1305_pull(this.#state, content, this.#tag, sealed, null);
    } catch {
      // The binding knows one failure: the authentication tag does not fit. What that means is the caller's to say.
      return undefined;
    }
    return { content, isFinal: this.#tag[0] === tags.final };
  }
}
