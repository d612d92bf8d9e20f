/** Buffers of the pieces of multipart uploads, used again from one upload to the next: memory that is made anew for each costs a garbage collection. */
import { freeMemory } from './free-memory.ts';

/** Two uploads of two pieces at a time and the one that is being filled: more than that is given back to the system. */
const keptBuffers = 6;
/** One upload follows the other within a second; after the last one, nothing is kept. */
const idleDefaultMs = 5000;

export class PartBuffers {
  readonly #sizeBytes: number;
  readonly #idleMs: number;
  readonly #free: Buffer[] = [];
  #idleTimer: NodeJS.Timeout | undefined;

  /** @param idleMs nobody gave one back so long: the kept ones are given back to the system */
  constructor(sizeBytes: number, idleMs: number = idleDefaultMs) {
    this.#sizeBytes = sizeBytes;
    this.#idleMs = idleMs;
  }

  /** How many lie here for the next use. */
  get keptCount(): number {
    return this.#free.length;
  }

  /** A buffer of unknown content. Pages of a large buffer that are never written to cost nothing. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#sizeBytes);
  }

  /** Gives back a buffer that nobody else holds any more. */
  give(buffer: Buffer): void {
    if (this.#free.length < keptBuffers) this.#free.push(buffer);
    else freeMemory(buffer);
    this.#idleTimer ??= setTimeout(() => this.#free.splice(0).forEach(freeMemory), this.#idleMs).unref();
    this.#idleTimer.refresh();
  }
}
