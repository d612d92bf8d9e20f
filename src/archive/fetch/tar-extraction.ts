/** Extracts one tar, verified; runs in a thread of its own, beside the one that fetches. */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Chunks } from '../compression/codec.ts';
import { damaged } from '../documents/stored-document.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { contentReader } from '../object-content.ts';
import { type MemberSink, type TarMember, TarReader } from '../tar-reader.ts';
import { chunkBytes, type ExtractionJob } from './extraction-job.ts';
import { MemberPlacement } from './member-placement.ts';
import { RestoredTree } from './restored-tree.ts';

/**
 * When this resolves, the tar is proven to be what was written, and every file of it durable.
 * @param stored the object's bytes; each chunk is used up when the next one is asked for
 * @returns how many of the files that the backup has to bring it held
 * @throws WalkbackError OBJECT_DAMAGED, DECRYPTION_FAILED; SyntaxError and codecs' errors for damage; system errors of local files
 */
export async function extractTar(job: ExtractionJob, stored: Chunks, cipher: ObjectCipher | undefined): Promise<number> {
  const read = contentReader({ key: job.key, extension: job.extension, cipher, inThisThread: true });
  const hashed = new HashedBytes(stored);
  const placement = new MemberPlacement(job.placement);
  await using proven = job.proveIn === undefined ? undefined : await KeptObject.keep(job.proveIn, hashed);
  if (proven !== undefined) {
    hashed.assertSha256(job);
    // Without a SHA-256 of ours, what speaks for the bytes are the checksums in them.
    if (job.expectedSha256 === undefined) await readMembers(read(proven.chunks()), () => undefined);
  }
  const tree = new RestoredTree();
  try {
    await readMembers(
      read(proven?.chunks() ?? hashed),
      (member) => sinkOf(member, { placement, tree }),
      async () => tree.drain(),
    );
    hashed.assertSha256(job);
    await tree.sync();
  } finally {
    await tree.close();
  }
  return placement.arrivedCount;
}

async function readMembers(
  content: AsyncIterable<Buffer>,
  onMember: (member: TarMember) => MemberSink | undefined,
  afterPiece?: () => Promise<void>,
): Promise<void> {
  const reader = new TarReader(onMember);
  for await (const piece of content) {
    reader.push(piece);
    await afterPiece?.();
  }
  reader.finish();
}

function sinkOf(
  member: TarMember,
  { placement, tree }: { readonly placement: MemberPlacement; readonly tree: RestoredTree },
): MemberSink | undefined {
  const place = placement.of(member);
  if (place === 'nowhere') return undefined;
  if (place.kind === 'file') return tree.file(place.path, member.mode);
  if (place.kind === 'increment') return tree.increment(place.path, member);
  tree.directory(place.path, member.mode);
  return undefined;
}

/** Bytes from the store, hashed before anything else sees them. */
class HashedBytes implements AsyncIterable<Buffer> {
  readonly #stored: Chunks;
  readonly #hash = createHash('sha256');
  #digest: string | undefined;

  constructor(stored: Chunks) {
    this.#stored = stored;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for await (const chunk of this.#stored) {
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  /** Asked when all bytes have passed. @throws WalkbackError OBJECT_DAMAGED */
  assertSha256({ key, expectedSha256 }: ExtractionJob): void {
    this.#digest ??= this.#hash.digest('hex');
    if (expectedSha256 !== undefined && this.#digest !== expectedSha256)
      throw damaged(key, `its SHA-256 is ${this.#digest} instead of ${expectedSha256}`);
  }
}

/** An object's bytes in a local file, which goes when it is not needed any more. */
class KeptObject implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  static async keep(path: string, stored: AsyncIterable<Buffer>): Promise<KeptObject> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = openSync(path, 'w', 0o600);
    try {
      for await (const chunk of stored) {
        for (let written = 0; written < chunk.length;) written += writeSync(file, chunk, written);
      }
      // What is read below is what the disk took: a page that it loses later must not be the one that was proven.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    return new KeptObject(path);
  }

  *chunks(): Generator<Buffer> {
    const file = openSync(this.#path, 'r');
    try {
      for (;;) {
        const chunk = Buffer.allocUnsafe(chunkBytes);
        const sizeBytes = readSync(file, chunk);
        if (sizeBytes === 0) return;
        yield chunk.subarray(0, sizeBytes);
      }
    } finally {
      closeSync(file);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#path, { force: true });
  }
}
