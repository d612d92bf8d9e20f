/** Buffers of the pieces of multipart uploads, used again from one upload to the next: memory that is made anew for each costs a garbage collection. */

/** Two uploads of two pieces at a time and the one that is being filled: more than that is given back to the system. */
const keptBuffers = 6;

export class PartBuffers {
  readonly #sizeBytes: number;
  readonly #free: Buffer[] = [];

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** A buffer of unknown content. Pages of a large buffer that are never written to cost nothing. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#sizeBytes);
  }

  /** Gives back a buffer that nobody else holds any more. */
  give(buffer: Buffer): void {
    if (this.#free.length < keptBuffers) this.#free.push(buffer);
  }
}
