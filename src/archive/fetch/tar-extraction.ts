/** Extracts one tar, verified; runs in a thread of its own, beside the one that fetches. */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Chunks, ContentTarget } from '../compression/codec.ts';
import { wrongSha256 } from '../documents/stored-document.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { contentReader } from '../object-content.ts';
import { type MemberSink, type TarMember, TarReader } from '../tar-reader.ts';
import { chunkBytes, type ExtractionJob } from './extraction-job.ts';
import { MemberPlacement } from './member-placement.ts';
import { RestoredTree } from './restored-tree.ts';

/**
 * When this resolves, every file of the tar is durable. Whether the stored bytes are those that were written is proven by their SHA-256: here before
 * anything is extracted, for an object that is to be proven first; else by whoever feeds them, to whom the part counts only then.
 * @param stored the object's bytes; each chunk is used up when the next one is asked for
 * @returns how many of the files that the backup has to bring it held
 * @throws WalkbackError OBJECT_DAMAGED, DECRYPTION_FAILED; SyntaxError and codecs' errors for damage; system errors of local files
 */
export async function extractTar(job: ExtractionJob, stored: Chunks, cipher: ObjectCipher | undefined): Promise<number> {
  const read = contentReader({ key: job.key, extension: job.extension, cipher, inThisThread: true });
  const placement = new MemberPlacement(job.placement);
  await using proven = job.proveIn === undefined ? undefined : await KeptObject.prove({ ...job, path: job.proveIn }, stored);
  // Without a SHA-256 of ours, what speaks for the bytes are the checksums in them.
  if (proven !== undefined && job.expectedSha256 === undefined) await readMembers((target) => read(proven.chunks(), target), nowhere);
  const tree = new RestoredTree();
  try {
    await readMembers(
      (target) => read(proven?.chunks() ?? stored, target),
      (member) => sinkOf(member, { placement, tree }),
      async () => tree.drain(),
    );
    await tree.sync();
  } finally {
    await tree.close();
  }
  return placement.arrivedCount;
}

function nowhere(): undefined {
  return undefined;
}

async function readMembers(
  content: (target: ContentTarget) => AsyncIterable<Buffer>,
  onMember: (member: TarMember) => MemberSink | undefined,
  afterPiece?: () => Promise<void>,
): Promise<void> {
  const reader = new TarReader(onMember);
  for await (const piece of content(() => reader.target())) {
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
  if (place.kind === 'file') return tree.file(place.path, member);
  if (place.kind === 'increment') return tree.increment(place.path, member);
  tree.directory(place.path, member.mode);
  return undefined;
}

/** What is to be kept, and where. */
type ObjectToProve = Pick<ExtractionJob, 'key' | 'expectedSha256'> & { readonly path: string };

/** An object's bytes in a local file, which goes when it is not needed any more. */
class KeptObject implements AsyncDisposable {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws WalkbackError OBJECT_DAMAGED when its SHA-256 is not the one that it must have */
  static async prove(object: ObjectToProve, stored: Chunks): Promise<KeptObject> {
    const { path, key, expectedSha256 } = object;
    const hash = createHash('sha256');
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const file = openSync(path, 'w', 0o600);
    try {
      for await (const chunk of stored) {
        hash.update(chunk);
        for (let written = 0; written < chunk.length;) written += writeSync(file, chunk, written);
      }
      // What is read below is what the disk took: a page that it loses later must not be the one that was proven.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    const kept = new KeptObject(path);
    const sha256 = hash.digest('hex');
    if (expectedSha256 === undefined || sha256 === expectedSha256) return kept;
    await kept[Symbol.asyncDispose]();
    throw wrongSha256(key, { sha256, expected: expectedSha256 });
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
