/**
 * Writing past the page cache (open(2), O_DIRECT), for large files where processors are scarcer than the disk. Copying into the cache, and from there to the
 * disk, is a quarter of the CPU that a fetch takes; and a backup larger than the memory would drive out what PostgreSQL on the same host has in the cache.
 * Where the disk is what everything waits for, the cache in front of it does more: it always has something to write.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ProcessorWatch } from './processor-time.ts';

/** Bytes of one write. */
export const directWriteBytes = 1024 * 1024;
/** Of one tar: one is filled while the others are written. */
const bufferCount = 4;
/** So many are free before more content comes: what is decompressed at a time seldom fills more. */
const freeMinimum = 1;
/** Looked at so long, while there was not enough room. */
const lookMs = 100;
/**
 * Processors that are less busy than this, while there is not enough room, wait for the disk. A fast one stops for a moment too, in which they are a little
 * idle: the cache would cost more from then on than it saves.
 */
const busyShareMinimum = 0.5;
const wasmPageBytes = 64 * 1024;

/** Memory of tars that are done, for those that follow in this thread: as much as there were tars at a time, and it goes with the thread. */
const sparedMemory: Buffer[] = [];

/** Memory for the writes of one tar. Aligned as disks want it: V8 has the system map what WebAssembly uses. */
function makeMemory(): Buffer {
  const pageCount = (bufferCount * directWriteBytes) / wasmPageBytes;
  return Buffer.from(new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared: false }).buffer);
}

/** What may be other than it is. */
export interface DirectWritesOptions {
  /** In place of memory that the thread keeps. */
  readonly memory?: Buffer;
  /** Watches the processors from now on. */
  readonly watch?: () => Pick<ProcessorWatch, 'busyShare'>;
}

/** The writes of one tar, and whether its disk is fast enough for them. Its memory is taken by the first. */
export class DirectWrites {
  readonly #options: DirectWritesOptions;
  #memory: Buffer | undefined;
  #free: Buffer[] = [];
  readonly #underWay = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #areWanted = true;
  #look: { readonly sinceMs: number; readonly processors: Pick<ProcessorWatch, 'busyShare'> } | undefined;

  constructor(options: DirectWritesOptions = {}) {
    this.#options = options;
  }

  /** False: the page cache is the better way from now on. */
  get areWanted(): boolean {
    return this.#areWanted;
  }

  /** A buffer to fill; undefined when there is none, or none is to be used any more. */
  take(): Buffer | undefined {
    if (!this.#areWanted) return undefined;
    if (this.#memory === undefined) this.#begin();
    return this.#free.pop();
  }

  /** For disks that are slower, and file systems that do not take such writes. */
  giveUp(): void {
    this.#areWanted = false;
  }

  /** Hears of a write that goes on by itself; its buffer is free when it has ended. Whoever waits for the write, or next for room, has its error. */
  follow(writing: Promise<void>, buffer: Buffer): void {
    const ended = writing
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .then(() => {
        this.#free.push(buffer);
        this.#underWay.delete(ended);
      });
    this.#underWay.add(ended);
  }

  /**
   * Lets a thread that writes without pause hear what was written. Waits until there is room for more, or gives up when the processors were idle meanwhile.
   * @throws the error of a write that failed: a full disk takes nothing of what is still to be fetched for the file
   */
  async room(): Promise<void> {
    if (this.#areWanted && this.#underWay.size > 0) await this.#waitForRoom();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #waitForRoom(): Promise<void> {
    await nextTurn();
    if (this.#free.length >= freeMinimum) return;
    this.#look ??= { sinceMs: performance.now(), processors: (this.#options.watch ?? (() => new ProcessorWatch()))() };
    while (this.#free.length < freeMinimum && this.#underWay.size > 0) await Promise.race(this.#underWay);
    if (performance.now() - this.#look.sinceMs < lookMs) return;
    if (this.#look.processors.busyShare() < busyShareMinimum) this.giveUp();
    this.#look = undefined;
  }

  /** Waits until nothing is being written, well or not, and leaves the memory to others. */
  async close(): Promise<void> {
    this.giveUp();
    await Promise.all(this.#underWay);
    if (this.#memory !== undefined && this.#options.memory === undefined) sparedMemory.push(this.#memory);
    this.#memory = undefined;
  }

  #begin(): void {
    const memory = this.#options.memory ?? sparedMemory.pop() ?? makeMemory();
    this.#memory = memory;
    const count = Math.floor(memory.length / directWriteBytes);
    this.#free = Array.from({ length: count }, (_, index) => memory.subarray(index * directWriteBytes, (index + 1) * directWriteBytes));
  }
}
