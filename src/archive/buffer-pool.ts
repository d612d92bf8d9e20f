/** Large buffers that are used again: the first touch of fresh memory costs a third of what reading a segment costs. */

/** Hands out buffers of one size. Their memory is shared: threads may work in it, and it does not count as what the garbage collector could free. */
export class BufferPool {
  readonly #sizeBytes: number;
  readonly #keptMaximumCount: number;
  readonly #free: Buffer<SharedArrayBuffer>[] = [];

  /** @param keptMaximumCount so many are kept for the next use; any number may be in use */
  constructor(options: { readonly sizeBytes: number; readonly keptMaximumCount: number }) {
    this.#sizeBytes = options.sizeBytes;
    this.#keptMaximumCount = options.keptMaximumCount;
  }

  /** Lends a buffer, with whatever it held before, to work that does not keep it. */
  async lend<T>(work: (buffer: Buffer<SharedArrayBuffer>) => Promise<T>): Promise<T> {
    const buffer = this.#free.pop() ?? Buffer.from(new SharedArrayBuffer(this.#sizeBytes));
    const result = await work(buffer);
    // Not after a failure: what was stopped midway may still read it in another thread.
    if (this.#free.length < this.#keptMaximumCount) this.#free.push(buffer);
    return result;
  }
}
