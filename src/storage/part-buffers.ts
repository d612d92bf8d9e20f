/**
 * Buffers of the pieces of multipart uploads: bounded in number, whatever the store's pace, and used again from one upload to the next, because memory
 * that is made anew for each costs a garbage collection.
 */
import { freeMemory } from './free-memory.ts';

/** All of them together: a store that is slow must not fill the memory of a server that has other work. */
const heldMaximumBytes = 128 * 1024 * 1024;
/** One that is being filled, and one on its way. */
const minimumBuffers = 2;
/** Two uploads of two pieces at a time and the one that is being filled: more than that is given back to the system. */
const keptBuffers = 6;
/** One upload follows the other within a second; after the last one, nothing is kept. */
const idleDefaultMs = 5000;

export class PartBuffers {
  readonly #sizeBytes: number;
  readonly #idleMs: number;
  readonly #maximumCount: number;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #takenCount = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param idleMs nobody gave one back so long: the kept ones are given back to the system */
  constructor(sizeBytes: number, idleMs: number = idleDefaultMs) {
    this.#sizeBytes = sizeBytes;
    this.#idleMs = idleMs;
    this.#maximumCount = Math.max(minimumBuffers, Math.floor(heldMaximumBytes / sizeBytes));
  }

  /** How many lie here for the next use. */
  get keptCount(): number {
    return this.#free.length;
  }

  /**
   * A buffer of unknown content, as soon as there is one: 128 MiB of them are out at a time. It has to come back, by `give` or `drop`; while somebody waits,
   * whoever has one must be able to go on without another. Pages of a large buffer that are never written to cost nothing.
   */
  async take(): Promise<Buffer> {
    if (this.#takenCount < this.#maximumCount) {
      this.#takenCount += 1;
      return this.#kept();
    }
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    this.#waiting.push(resolve);
    return await promise;
  }

  /** Gives back a buffer that nobody else holds any more. */
  give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(buffer);
      return;
    }
    this.#takenCount -= 1;
    if (this.#free.length < keptBuffers) this.#free.push(buffer);
    else freeMemory(buffer);
    this.#freeWhenIdle();
  }

  /** Gives up a buffer that a failed request may hold yet: it is used for nothing again. */
  drop(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#takenCount -= 1;
    else next(this.#kept());
    this.#freeWhenIdle();
  }

  #freeWhenIdle(): void {
    this.#idleTimer ??= setTimeout(() => this.#free.splice(0).forEach(freeMemory), this.#idleMs).unref();
    this.#idleTimer.refresh();
  }

  /** The first one brings the others that will be kept: made one by one, several of them would each have the garbage collector go through all memory. */
  #kept(): Buffer {
    const kept = this.#free.pop();
    if (kept !== undefined) return kept;
    const others = this.#takenCount === 1 ? Math.min(keptBuffers, this.#maximumCount) - 1 : 0;
    for (let count = 0; count < others; count += 1) this.#free.push(Buffer.allocUnsafeSlow(this.#sizeBytes));
    return Buffer.allocUnsafeSlow(this.#sizeBytes);
  }
}
