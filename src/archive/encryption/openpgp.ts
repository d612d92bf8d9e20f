/**
 * OpenPGP messages as WAL-G and WAL-E wrote them (wal-g: internal/crypto/openpgp/crypter.go): binary, to one or several keys, read with our private
 * key. The content is taken as bytes, though WAL-G's literal packets claim to be text. Only read.
 *
 * A message is decrypted while it arrives, so its integrity is known at its end only: a wrong modification detection code is then an error. What
 * was handed on before counts for nothing until the end was read.
 */
import { ReadableStream } from 'node:stream/web';
import type { PrivateKey } from 'openpgp';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import type { Chunks } from '../compression/codec.ts';
import { type ObjectDecryption, WrongKeyError } from './cipher.ts';

/** What WAL-G's settings hold. */
export interface OpenPgpKeys {
  /** Armored; line ends may be written as `\n`, as WAL-G allows in WALG_PGP_KEY. */
  readonly armored: string;
  readonly passphrase: string | undefined;
}

/** Packet tag of a session key that is encrypted to a public key. */
const encryptedSessionKeyTag = 1;
const keyIdBytes = 8;

/** @throws WalkbackError INVALID_CONFIGURATION when there is no private key, or the passphrase does not unlock it */
export async function openPgp(settings: OpenPgpKeys): Promise<ObjectDecryption> {
  const keys = await unlockedKeys(settings);
  const keyIds = new Set(keys.flatMap((key) => key.getKeyIDs().map((id) => id.toHex())));
  return { name: 'OpenPGP', decrypt: (chunks) => decrypt(chunks, keys), recognizes: (head) => keyIds.has(recipientOf(head) ?? '') };
}

async function unlockedKeys({ armored, passphrase }: OpenPgpKeys): Promise<readonly PrivateKey[]> {
  // Loaded when a key is configured: most archives need none of it.
  const { decryptKey, readPrivateKeys } = await import('openpgp');
  try {
    const keys = await readPrivateKeys({ armoredKeys: armored.replaceAll('\\n', '\n') });
    if (keys.length === 0) throw new SyntaxError('it holds no private key');
    return await Promise.all(
      keys.map(async (key) => (key.isDecrypted() ? key : decryptKey({ privateKey: key, passphrase: passphrase ?? '' }))),
    );
  } catch (error) {
    throw new WalkbackError('INVALID_CONFIGURATION', `The OpenPGP key cannot be used: ${messageOf(error)}.`, {
      hint: 'It must be an armored private key (`gpg --armor --export-secret-keys`), with its passphrase in WALG_PGP_KEY_PASSPHRASE if it has one.',
    });
  }
}

async function* decrypt(chunks: Chunks, keys: readonly PrivateKey[]): AsyncGenerator<Buffer> {
  const source = new NotedFailures(chunks);
  try {
    const content = await openMessage(source.chunks(), keys);
    for await (const chunk of content) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  } catch (error) {
    if (source.failure !== undefined) throw source.failure.error;
    if (error instanceof WrongKeyError) throw error;
    throw new SyntaxError(`its OpenPGP message is not what was written: ${messageOf(error)}`, { cause: error });
  }
}

async function openMessage(chunks: Chunks, keys: readonly PrivateKey[]): Promise<AsyncIterable<Uint8Array>> {
  const openpgp = await import('openpgp');
  try {
    const message = await openpgp.readMessage({ binaryMessage: ReadableStream.from(chunks) as never });
    // Streams of plaintext before the check of their integrity: bounded memory for objects of any size.
    const config = { allowUnauthenticatedStream: true };
    const { data } = await openpgp.decrypt({ message, decryptionKeys: [...keys], format: 'binary', config });
    return data;
  } catch (error) {
    throw new WrongKeyError(`it cannot be opened with the OpenPGP key: ${messageOf(error)}`, { cause: error });
  }
}

/** Chunks whose own failure is remembered: the package wraps it in words about the message, and a store that does not answer is no damage. */
class NotedFailures {
  readonly #chunks: Chunks;
  failure: { readonly error: unknown } | undefined;

  constructor(chunks: Chunks) {
    this.#chunks = chunks;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of this.#chunks) yield chunk;
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }
}

/** Key id that the first packet of a message is for (RFC 9580, section 5.1.1); undefined when the bytes are no message. */
function recipientOf(head: Buffer): string | undefined {
  const [first = 0, second = 0] = head;
  const isNewFormat = (first & 0x40) !== 0;
  if ((first & 0x80) === 0 || (isNewFormat ? first & 0x3f : (first >> 2) & 0x0f) !== encryptedSessionKeyTag) return undefined;
  const lengthBytes = isNewFormat ? newLengthBytes(second) : ([1, 2, 4][first & 0x03] ?? 0);
  const version = 1 + lengthBytes;
  return head[version] === 3 ? head.toString('hex', version + 1, version + 1 + keyIdBytes) : undefined;
}

function newLengthBytes(first: number): number {
  if (first < 192) return 1;
  return first < 224 ? 2 : 5;
}
