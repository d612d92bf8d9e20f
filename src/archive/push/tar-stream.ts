/**
 * The bytes of a tar made of files that a server is writing to. Content is read straight into the chunks that go to the compressor, and checked there;
 * small files are read several at a time. Memory: the ring, which is lent, and one batch of small files of 2 MiB.
 */
import { crc32c } from '@node-rs/crc32';
import { compressorChunkBytes } from '../compression/codec.ts';
import { tarEnd, tarHeader, tarPaddingBytes } from '../tar-writer.ts';
import type { ChunkRing } from './chunk-ring.ts';
import type { WalkedFile } from './data-directory-walk.ts';
import { FileDigest, type ManifestChecksum } from './file-digest.ts';
import { type Increment, incrementHeader, runsOf } from './increment.ts';
import { checkPages } from './page-check.ts';
import { BlockCollector, type DamagedBlocks } from './page-damage.ts';
import { type PageFile, type PageFormat, pageFileOf } from './page-file.ts';
import { SourceFile } from './source-file.ts';

/** Files up to this size are read whole, and in batches: 64 KiB. */
const smallFileBytes = 64 * 1024;
const smallBatchFiles = 32;
const noContent = Buffer.alloc(0);

/** A member to be written; with an increment, `sizeBytes` is the increment's. */
export interface TarFile extends WalkedFile {
  readonly increment?: Increment | undefined;
}

/** A member as it lies in the tar. */
export interface PackedFile {
  readonly name: string;
  readonly type: 'file' | 'directory';
  readonly changedNs: bigint;
  /** Of the file when it is restored. */
  readonly fileBytes: number;
  /** Of the file when it is restored, as backup_manifest has it; undefined for directories, and when nobody read the whole file. */
  readonly checksum: string | undefined;
  readonly isIncremented: boolean;
  /** Unchanged since the parent backup: in no tar of this one. */
  readonly isSkipped: boolean;
  readonly damagedBlocks: DamagedBlocks | undefined;
}

/** What a tar is made with. */
interface TarOptions {
  readonly ring: ChunkRing;
  /** Undefined: pages are not looked at. */
  readonly pages: PageFormat | undefined;
  readonly manifestChecksum: ManifestChecksum;
  /** Told of each member that the tar holds. */
  readonly onFile: (file: PackedFile) => void;
  /** Told of bytes of files as they are read. */
  readonly onContent: (sizeBytes: number) => void;
}

/**
 * The tar of the files. Its chunks are meant for a codec's compressor: their buffers are filled anew.
 * A file that vanished is left out, one that shrank is filled up with zeros, one that grew is cut at the size it had when it was walked: WAL
 * replay puts all of that right (PostgreSQL manual, "Backing Up the Data Directory").
 */
export async function* tarOfFiles(files: readonly TarFile[], options: TarOptions): AsyncGenerator<Buffer> {
  const { ring } = options;
  ring.reset();
  for (const batch of batches(files)) {
    const [first] = batch;
    if (first !== undefined && isLarge(first)) yield* new LargeMember(first, options).chunks();
    else yield* smallFiles(batch, options);
  }
  yield* ring.append(tarEnd);
  yield ring.rest();
}

/** Neighbours that are small together, each large file alone. */
function* batches(files: readonly TarFile[]): Generator<readonly TarFile[]> {
  let batch: TarFile[] = [];
  for (const file of files) {
    if (batch.length > 0 && (isLarge(file) || batch.length >= smallBatchFiles)) {
      yield batch;
      batch = [];
    }
    if (isLarge(file)) yield [file];
    else batch.push(file);
  }
  if (batch.length > 0) yield batch;
}

function isLarge(file: TarFile): boolean {
  return file.sizeBytes > smallFileBytes || file.increment !== undefined;
}

/** A small file that is open until it is in the tar, so that its pages can be read again. */
interface SmallSource {
  readonly content: Buffer;
  readonly source: SourceFile | undefined;
}

async function* smallFiles(batch: readonly TarFile[], options: TarOptions): AsyncGenerator<Buffer> {
  using opened = new DisposableStack();
  // All of them come to an end, whatever becomes of one: what a read that goes on after a failure had opened would stay open.
  const outcomes = await Promise.allSettled(batch.map((file) => readSmallFile(file, opened)));
  for (const [index, file] of batch.entries()) {
    const outcome = outcomes[index];
    if (outcome?.status === 'rejected') throw outcome.reason;
    if (outcome?.value !== undefined) yield* smallMember(file, outcome.value, options);
  }
}

async function* smallMember(file: TarFile, { content, source }: SmallSource, options: TarOptions): AsyncGenerator<Buffer> {
  const { ring } = options;
  yield* ring.append(headerOf(file));
  yield* ring.makeRoom(content.length);
  const place = ring.space(content.length);
  content.copy(place);
  const checks = new ContentChecks(file, options);
  if (source !== undefined) await checks.take(source, place, 0);
  yield* ring.advance(place.length);
  yield* ring.append(zeros(tarPaddingBytes(file.sizeBytes)));
  options.onContent(file.sizeBytes);
  options.onFile(checks.result());
}

/** @returns undefined when the file vanished */
async function readSmallFile(file: TarFile, opened: DisposableStack): Promise<SmallSource | undefined> {
  if (file.type === 'directory') return { content: noContent, source: undefined };
  const source = await SourceFile.open(file.path);
  if (source === undefined) return undefined;
  opened.use(source);
  const content = Buffer.allocUnsafe(file.sizeBytes);
  await source.fill(content, 0);
  return { content, source };
}

/** A member that is read in pieces: a file, or the changed pages of one. */
class LargeMember {
  readonly #file: TarFile;
  readonly #options: TarOptions;
  readonly #checks: ContentChecks;

  constructor(file: TarFile, options: TarOptions) {
    this.#file = file;
    this.#options = options;
    this.#checks = new ContentChecks(file, options);
  }

  async *chunks(): AsyncGenerator<Buffer> {
    const { ring, onFile } = this.#options;
    using source = await SourceFile.open(this.#file.path);
    if (source === undefined) return;
    yield* ring.append(headerOf(this.#file));
    const { increment } = this.#file;
    if (increment === undefined) yield* this.#piece(source, 0, this.#file.sizeBytes);
    else yield* this.#changedPages(source, increment);
    yield* ring.append(zeros(tarPaddingBytes(this.#file.sizeBytes)));
    onFile(this.#checks.result());
  }

  async *#changedPages(source: SourceFile, increment: Increment): AsyncGenerator<Buffer> {
    const { blocks, blockBytes } = increment;
    yield* this.#options.ring.append(incrementHeader(increment));
    for (const { first, length } of runsOf(blocks, Math.floor(compressorChunkBytes / blockBytes)))
      yield* this.#piece(source, first * blockBytes, length * blockBytes);
  }

  /** A stretch of the file. Pages are never cut by the end of a chunk. */
  async *#piece(source: SourceFile, startBytes: number, sizeBytes: number): AsyncGenerator<Buffer> {
    const { ring, onContent } = this.#options;
    const { unitBytes } = this.#checks;
    for (let readBytes = 0; readBytes < sizeBytes;) {
      const leftBytes = sizeBytes - readBytes;
      yield* ring.makeRoom(Math.min(unitBytes, leftBytes));
      const room = ring.space(leftBytes);
      const place = room.length < leftBytes ? room.subarray(0, room.length - (room.length % unitBytes)) : room;
      await source.fill(place, startBytes + readBytes);
      await this.#checks.take(source, place, startBytes + readBytes);
      readBytes += place.length;
      onContent(place.length);
      yield* ring.advance(place.length);
    }
  }
}

/** Checks a file's content and describes it while it passes. */
class ContentChecks {
  readonly #file: TarFile;
  readonly #ring: ChunkRing;
  readonly #pageFile: PageFile | undefined;
  readonly #blockBytes: number;
  readonly #damaged: BlockCollector;
  readonly #digest: FileDigest | undefined;
  #storedPages = 0;
  #isAsPlanned = true;

  constructor(file: TarFile, { pages, ring, manifestChecksum }: TarOptions) {
    this.#file = file;
    this.#ring = ring;
    this.#pageFile = file.type === 'file' && pages?.hasChecksums === true ? pageFileOf(file.memberName, pages) : undefined;
    this.#blockBytes = pages?.blockBytes ?? 1;
    this.#damaged = new BlockCollector(file.increment?.known?.damagedBlocks);
    this.#digest = file.type === 'directory' || file.increment !== undefined ? undefined : new FileDigest(manifestChecksum, ring.memory);
  }

  /** What must not be cut. */
  get unitBytes(): number {
    return this.#pageFile === undefined ? 1 : this.#blockBytes;
  }

  /** Looks at content that lies in the ring. */
  async take(source: SourceFile, content: Buffer, positionBytes: number): Promise<void> {
    if (this.#pageFile !== undefined) await this.#checkPages(source, content, { positionBytes, ...this.#pageFile });
    this.#digest?.update(content);
    const planned = this.#file.increment?.known;
    if (planned !== undefined) this.#compare(content, planned.pageCrcs);
  }

  /** What went into the tar. */
  result(): PackedFile {
    const { memberName, type, changedNs, sizeBytes, increment } = this.#file;
    return {
      name: memberName,
      type,
      changedNs,
      fileBytes: increment?.fileBytes ?? sizeBytes,
      checksum: increment === undefined ? this.#digest?.text() : this.#plannedChecksum(),
      isIncremented: increment !== undefined,
      isSkipped: false,
      damagedBlocks: this.#damaged.result(),
    };
  }

  /** The server may have written a page anew since the whole file was read: then nobody knows what the restored file will be. */
  #compare(content: Buffer, pageCrcs: Uint32Array): void {
    for (let offset = 0; offset < content.length; offset += this.#blockBytes) {
      const page = content.subarray(offset, offset + this.#blockBytes);
      if (crc32c(page) !== pageCrcs[this.#storedPages]) this.#isAsPlanned = false;
      this.#storedPages += 1;
    }
  }

  #plannedChecksum(): string | undefined {
    return this.#isAsPlanned ? this.#file.increment?.known?.checksum : undefined;
  }

  /** What is left behind the last whole page belongs to none. */
  async #checkPages(
    source: SourceFile,
    content: Buffer,
    at: { readonly positionBytes: number; readonly firstBlock: number },
  ): Promise<void> {
    const pageBytes = this.#blockBytes;
    const read = {
      pages: content.subarray(0, content.length - (content.length % pageBytes)),
      pageBytes,
      block: at.firstBlock + at.positionBytes / pageBytes,
      reread: (page: Buffer, offsetBytes: number) => source.fill(page, at.positionBytes + offsetBytes),
    };
    await checkPages(this.#ring.memory, read, this.#damaged);
  }
}

function headerOf(file: TarFile): Buffer {
  return tarHeader({
    name: file.memberName,
    type: file.type,
    mode: file.mode,
    sizeBytes: file.sizeBytes,
    changedSeconds: Number(file.changedNs / 1_000_000_000n),
  });
}

function zeros(sizeBytes: number): Buffer {
  return tarEnd.subarray(0, sizeBytes);
}
