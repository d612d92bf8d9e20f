/** Tasks that run beside the one that starts them, a bounded number at a time. */

export class TaskPool {
  readonly #limit: number;
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Starts a task, as soon as there is room. @throws the error of a task that failed before */
  async start(task: () => Promise<void>): Promise<void> {
    while (this.#running.size >= this.#limit) await Promise.race(this.#running);
    this.#throwFailure();
    const run: Promise<void> = this.#guard(task).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Waits until no task runs; never throws. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Waits until no task runs. @throws the first error of a task */
  async finish(): Promise<void> {
    await this.settle();
    this.#throwFailure();
  }

  /** The error is kept for the next one who asks: nobody awaits the task itself. */
  async #guard(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
