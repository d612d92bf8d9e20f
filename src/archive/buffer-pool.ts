/** Large memory that is used again: the first touch of fresh memory costs a third of what reading a segment costs. */

/** What a pool is told. */
export interface LendingPoolOptions<T> {
  readonly make: () => T;
  /** So many are lent at a time, and kept for the next use; who wants one more waits. */
  readonly maximumCount: number;
  /** Nobody asked for one so long: the kept ones are given back to the system. @default 60 s */
  readonly idleMs?: number | undefined;
}

/** What a pool of buffers is told. */
export interface BufferPoolOptions extends Omit<LendingPoolOptions<Buffer>, 'make'> {
  readonly sizeBytes: number;
  /** Of all of them together; one there is whatever its size. */
  readonly maximumBytes: number;
}

const idleDefaultMs = 60_000;

/** Hands out what is large, made when it is needed. */
export class LendingPool<T> {
  readonly #options: LendingPoolOptions<T>;
  readonly #free: T[] = [];
  /** Who waits for one, in turn. */
  readonly #waiting: (() => void)[] = [];
  #lentCount = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: LendingPoolOptions<T>) {
    this.#options = options;
  }

  /** How many lie here for the next use. */
  get keptCount(): number {
    return this.#free.length;
  }

  /** Lends one, with whatever it held before, to work that does not keep it. */
  async lend<R>(work: (lent: T) => Promise<R>): Promise<R> {
    await this.#turn();
    try {
      const lent = this.#free.pop() ?? this.#options.make();
      const result = await work(lent);
      // Not after a failure: what was stopped midway may still read it in another thread.
      this.#free.push(lent);
      return result;
    } finally {
      this.#giveTurn();
    }
  }

  async #turn(): Promise<void> {
    clearTimeout(this.#idleTimer);
    if (this.#lentCount < this.#options.maximumCount) {
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

/** Hands out buffers of one size. Their memory is shared: threads may work in it, and it does not count as what the garbage collector could free. */
export class BufferPool extends LendingPool<Buffer<SharedArrayBuffer>> {
  constructor({ sizeBytes, maximumCount, maximumBytes, idleMs }: BufferPoolOptions) {
    super({
      make: () => Buffer.from(new SharedArrayBuffer(sizeBytes)),
      maximumCount: Math.max(1, Math.min(maximumCount, Math.floor(maximumBytes / sizeBytes))),
      idleMs,
    });
  }
}

/** A pool for each size, made when it is asked for: what several have in common, so that there is not one for each of them. */
export class BufferPools {
  readonly #options: Omit<BufferPoolOptions, 'sizeBytes'>;
  readonly #pools = new Map<number, BufferPool>();

  /** @param options of each of the pools */
  constructor(options: Omit<BufferPoolOptions, 'sizeBytes'>) {
    this.#options = options;
  }

  /** The pool of buffers of so many bytes. */
  of(sizeBytes: number): BufferPool {
    const pool = this.#pools.get(sizeBytes) ?? new BufferPool({ ...this.#options, sizeBytes });
    this.#pools.set(sizeBytes, pool);
    return pool;
  }
}
