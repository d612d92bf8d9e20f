/**
 * Decides for each file of an incremental backup whether it is left to the parent, stored as its changed pages, or stored whole
 * (wal-g: internal/databases/postgres/bundle.go, addToBundle; pagefile.go, isPagedFile). Files are read several at a time, ahead of the tars.
 */
import { crc32c } from '@node-rs/crc32';
import { compressorChunkBytes } from '../compression/codec.ts';
import type { ChangedBlocks } from './changed-blocks.ts';
import type { WalkedFile } from './data-directory-walk.ts';
import { FileDigest, type ManifestChecksum } from './file-digest.ts';
import { type Increment, incrementBytes } from './increment.ts';
import { checkPages } from './page-check.ts';
import { BlockCollector } from './page-damage.ts';
import { type PageFile, type PageFormat, pageFileOf } from './page-file.ts';
import { changeOf } from './page-header.ts';
import { PageMemory } from './page-memory.ts';
import type { IncrementalParent } from './parent-backup.ts';
import type { ParentFile } from './parent-files.ts';
import { SourceFile } from './source-file.ts';
import type { PackedFile, TarFile } from './tar-stream.ts';

interface PlanOptions {
  readonly parent: IncrementalParent;
  readonly pages: PageFormat;
  readonly manifestChecksum: ManifestChecksum;
  /** By the server's WAL summaries; undefined: by the pages themselves. */
  readonly changed: ChangedBlocks | undefined;
  /** Files that are read at a time. */
  readonly concurrency: number;
  /** Told of files that are left to the parent. */
  readonly onSkipped: (file: PackedFile) => void;
}

/** A file's time is as coarse as the kernel's clock tick: what was written after the parent read the file may carry the time that the parent saw. */
const settledAfterNs = 2_000_000_000n;
/** Files whose plan is made before the tars take them. */
const lookaheadFiles = 64;

/** The files that go into tars, in the order of the walk. */
export async function* planIncrements(files: AsyncIterable<WalkedFile>, options: PlanOptions): AsyncGenerator<TarFile> {
  const planner = new Planner(options);
  const planned: Promise<TarFile | undefined>[] = [];
  for await (const file of files) {
    planned.push(planner.plan(file));
    if (planned.length < lookaheadFiles) continue;
    const next = await planned.shift();
    if (next !== undefined) yield next;
  }
  for (const plan of planned) {
    const next = await plan;
    if (next !== undefined) yield next;
  }
}

class Planner {
  readonly #options: PlanOptions;
  readonly #memories: PageMemory[];
  readonly #waiting: (() => void)[] = [];

  constructor(options: PlanOptions) {
    this.#options = options;
    this.#memories = Array.from({ length: options.concurrency }, () => new PageMemory(compressorChunkBytes));
  }

  /** @returns undefined for a file that is left to the parent */
  plan(file: WalkedFile): Promise<TarFile | undefined> {
    const plan = this.#plan(file);
    // Whoever waits for an earlier file must not be ended by the failure of a later one: it is thrown when its turn comes.
    plan.catch(() => undefined);
    return plan;
  }

  async #plan(file: WalkedFile): Promise<TarFile | undefined> {
    const known = file.type === 'file' ? this.#options.parent.files.find(file.memberName) : undefined;
    if (known === undefined) return file;
    if (this.#isUnchanged(file, known)) {
      this.#options.onSkipped(skipped(file, known));
      return undefined;
    }
    const increment = await this.#incrementOf(file);
    return increment === undefined ? file : { ...file, sizeBytes: incrementBytes(increment), increment };
  }

  #isUnchanged({ changedNs, sizeBytes }: WalkedFile, known: ParentFile): boolean {
    const parentStartedNs = BigInt(this.#options.parent.startedMs) * 1_000_000n;
    return changedNs === known.changedNs && changedNs + settledAfterNs < parentStartedNs && (known.sizeBytes ?? sizeBytes) === sizeBytes;
  }

  /** @returns undefined when the file has to be stored whole */
  async #incrementOf(file: WalkedFile): Promise<Increment | undefined> {
    const { pages, changed } = this.#options;
    const pageFile = pageFileOf(file.memberName, pages);
    const isPaged = pageFile !== undefined && /^\d+$/.test(pageFile.fork) && !file.memberName.startsWith('/global/');
    if (!isPaged || file.sizeBytes === 0 || file.sizeBytes % pages.blockBytes !== 0) return undefined;
    if (changed === undefined) return await this.#withMemory((memory) => new Scan(file, { ...this.#options, pageFile, memory }).run());
    const blocks = changed.within(file.memberName, { ...pageFile, blockCount: file.sizeBytes / pages.blockBytes });
    if (blocks === 'all') return undefined;
    return { fileBytes: file.sizeBytes, blocks, blockBytes: pages.blockBytes, known: undefined };
  }

  async #withMemory<T>(use: (memory: PageMemory) => Promise<T>): Promise<T> {
    while (this.#memories.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const memory = this.#memories.pop() ?? new PageMemory(compressorChunkBytes);
    try {
      return await use(memory);
    } finally {
      this.#memories.push(memory);
      this.#waiting.shift()?.();
    }
  }
}

function skipped({ memberName, changedNs, sizeBytes }: WalkedFile, known: ParentFile): PackedFile {
  return {
    name: memberName,
    type: 'file',
    changedNs,
    fileBytes: sizeBytes,
    checksum: known.checksum,
    isIncremented: false,
    isSkipped: true,
    damagedBlocks: undefined,
  };
}

type ScanOptions = PlanOptions & { readonly pageFile: PageFile; readonly memory: PageMemory };

/** Reads a file for the pages that changed. */
class Scan {
  readonly #file: WalkedFile;
  readonly #options: ScanOptions;
  readonly #blocks: number[] = [];
  readonly #crcs: number[] = [];
  readonly #damagedBlocks: number[] = [];
  readonly #digest: FileDigest;

  constructor(file: WalkedFile, options: ScanOptions) {
    this.#file = file;
    this.#options = options;
    this.#digest = new FileDigest(options.manifestChecksum, options.memory);
  }

  /** @returns undefined when the file has vanished, or holds something that is no page */
  async run(): Promise<Increment | undefined> {
    const { blockBytes, hasChecksums } = this.#options.pages;
    const { sizeBytes, path } = this.#file;
    using source = await SourceFile.open(path);
    if (source === undefined) return undefined;
    const maximumBytes = compressorChunkBytes - (compressorChunkBytes % blockBytes);
    for (let readBytes = 0; readBytes < sizeBytes; readBytes += maximumBytes) {
      const piece = this.#options.memory.buffer(0, Math.min(maximumBytes, sizeBytes - readBytes));
      await source.fill(piece, readBytes);
      const firstBlock = readBytes / blockBytes;
      if (hasChecksums) await this.#check(piece, firstBlock, (page, offset) => source.fill(page, readBytes + offset));
      this.#digest.update(piece);
      if (!this.#take(piece, firstBlock)) return undefined;
    }
    return this.#result();
  }

  async #check(piece: Buffer, firstBlock: number, reread: (page: Buffer, offsetBytes: number) => Promise<void>): Promise<void> {
    const { memory, pages, pageFile } = this.#options;
    const damaged = new BlockCollector(undefined, (block) => this.#damagedBlocks.push(block));
    await checkPages(memory, { pages: piece, pageBytes: pages.blockBytes, block: pageFile.firstBlock + firstBlock, reread }, damaged);
  }

  /** @returns false when something is no page */
  #take(piece: Buffer, firstBlock: number): boolean {
    const { parent, pages } = this.#options;
    for (let offset = 0; offset < piece.length; offset += pages.blockBytes) {
      const page = piece.subarray(offset, offset + pages.blockBytes);
      const change = changeOf(page, parent.origin.startLsn);
      if (change === 'no-page') return false;
      if (change === 'unchanged') continue;
      this.#blocks.push(firstBlock + offset / pages.blockBytes);
      this.#crcs.push(crc32c(page));
    }
    return true;
  }

  /**
   * Without data checksums a page may differ from the parent's by hint bits alone, which no position in the WAL tells of: what will be restored is
   * then another file than was read.
   */
  #result(): Increment {
    const { pages, pageFile } = this.#options;
    const stored = new Set(this.#blocks);
    const left = new BlockCollector();
    for (const block of this.#damagedBlocks) if (!stored.has(block - pageFile.firstBlock)) left.add(block);
    const known = { checksum: this.#digest.text(), pageCrcs: Uint32Array.from(this.#crcs), damagedBlocks: left.result() };
    return {
      fileBytes: this.#file.sizeBytes,
      blocks: Uint32Array.from(this.#blocks),
      blockBytes: pages.blockBytes,
      known: pages.hasChecksums ? known : undefined,
    };
  }
}
