/**
 * Writing past the page cache (open(2), O_DIRECT), for large files where processors are scarcer than the disk. Copying into the cache, and from there to the
 * disk, is a quarter of the CPU that a fetch takes; and a backup larger than the memory would drive out what PostgreSQL on the same host has in the cache.
 * Where the disk is what everything waits for, the cache in front of it does more: it always has something to write.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LendingPool } from '../buffer-pool.ts';
import { ProcessorWatch } from './processor-time.ts';

/** Bytes of one write. */
export const directWriteBytes = 1024 * 1024;
/** Of one tar. */
const bufferCount = 8;
/** So many are free before more content comes: what is decompressed at a time seldom fills more. */
const freeMinimum = 2;
/** Looked at so long, while there was not enough room. */
const lookMs = 100;
/** Processors that are less busy than this, while there is not enough room, wait for the disk. */
const busyShareMinimum = 0.75;
/** Tars in work in a thread: what `storage.download_concurrency` may be at most. */
const tarsMaximum = 64;
const wasmPageBytes = 64 * 1024;

/** Memory of the writes of one tar, of which only what is used is there. Aligned as disks want it: V8 has the system map what WebAssembly uses. */
export const directMemory: LendingPool<Buffer> = new LendingPool({
  make: () => {
    const pageCount = (bufferCount * directWriteBytes) / wasmPageBytes;
    return Buffer.from(new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared: false }).buffer);
  },
  maximumCount: tarsMaximum,
});

/** The writes of one tar, and whether its disk is fast enough for them. */
export class DirectWrites {
  readonly #free: Buffer[];
  readonly #underWay = new Set<Promise<void>>();
  readonly #watch: () => Pick<ProcessorWatch, 'busyShare'>;
  #areWanted = true;
  #look: { readonly sinceMs: number; readonly processors: Pick<ProcessorWatch, 'busyShare'> } | undefined;

  /**
   * @param memory for as many writes as it has room for
   * @param watch watches the processors from now on
   */
  constructor(memory: Buffer, watch: () => Pick<ProcessorWatch, 'busyShare'> = () => new ProcessorWatch()) {
    this.#watch = watch;
    const count = Math.floor(memory.length / directWriteBytes);
    this.#free = Array.from({ length: count }, (_, index) => memory.subarray(index * directWriteBytes, (index + 1) * directWriteBytes));
  }

  /** False: the page cache is the better way from now on. */
  get areWanted(): boolean {
    return this.#areWanted;
  }

  /** A buffer to fill; undefined when there is none, or none is to be used any more. */
  take(): Buffer | undefined {
    return this.#areWanted ? this.#free.pop() : undefined;
  }

  /** For disks that are slower, and file systems that do not take such writes. */
  giveUp(): void {
    this.#areWanted = false;
  }

  /** Hears of a write that goes on by itself; its buffer is free when it has ended well. Whoever waits for the write has its error. */
  follow(writing: Promise<void>, buffer: Buffer): void {
    const ended = writing.then(
      () => {
        this.#free.push(buffer);
        this.#underWay.delete(ended);
      },
      () => {
        this.#underWay.delete(ended);
      },
    );
    this.#underWay.add(ended);
  }

  /** Lets a thread that writes without pause hear what was written. Waits until there is room for more, or gives up because the processors do too. */
  async room(): Promise<void> {
    if (!this.#areWanted || this.#underWay.size === 0) return;
    await nextTurn();
    if (this.#free.length >= freeMinimum) return;
    this.#look ??= { sinceMs: performance.now(), processors: this.#watch() };
    while (this.#free.length < freeMinimum && this.#underWay.size > 0) await Promise.race(this.#underWay);
    if (performance.now() - this.#look.sinceMs < lookMs) return;
    if (this.#look.processors.busyShare() < busyShareMinimum) this.giveUp();
    this.#look = undefined;
  }

  /** Waits until nothing is being written, well or not. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }
}
