/** Large buffers that are used again: the first touch of fresh memory costs a third of what reading a segment costs. */

/** What a pool is told. */
export interface BufferPoolOptions {
  readonly sizeBytes: number;
  /** So many are lent at a time, and kept for the next use; who wants one more waits. */
  readonly maximumCount: number;
  /** Of all of them together; one there is whatever its size. */
  readonly maximumBytes: number;
  /** Nobody asked for one so long: the kept ones are given back to the system. @default 60 s */
  readonly idleMs?: number;
}

const idleDefaultMs = 60_000;

/** Hands out buffers of one size. Their memory is shared: threads may work in it, and it does not count as what the garbage collector could free. */
export class BufferPool {
  readonly #options: BufferPoolOptions;
  readonly #maximumCount: number;
  readonly #free: Buffer<SharedArrayBuffer>[] = [];
  /** Who waits for a buffer, in turn. */
  readonly #waiting: (() => void)[] = [];
  #lentCount = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: BufferPoolOptions) {
    const { sizeBytes, maximumCount, maximumBytes } = options;
    this.#options = options;
    this.#maximumCount = Math.max(1, Math.min(maximumCount, Math.floor(maximumBytes / sizeBytes)));
  }

  /** How many lie here for the next use. */
  get keptCount(): number {
    return this.#free.length;
  }

  /** Lends a buffer, with whatever it held before, to work that does not keep it. */
  async lend<T>(work: (buffer: Buffer<SharedArrayBuffer>) => Promise<T>): Promise<T> {
    await this.#turn();
    try {
      const buffer = this.#free.pop() ?? Buffer.from(new SharedArrayBuffer(this.#options.sizeBytes));
      const result = await work(buffer);
      // Not after a failure: what was stopped midway may still read it in another thread.
      this.#free.push(buffer);
      return result;
    } finally {
      this.#giveTurn();
    }
  }

  async #turn(): Promise<void> {
    clearTimeout(this.#idleTimer);
    if (this.#lentCount < this.#maximumCount) {
      this.#lentCount += 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    await promise;
  }

  #giveTurn(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next();
      return;
    }
    this.#lentCount -= 1;
    if (this.#lentCount > 0) return;
    this.#idleTimer = setTimeout(() => this.#free.splice(0), this.#options.idleMs ?? idleDefaultMs).unref();
  }
}
