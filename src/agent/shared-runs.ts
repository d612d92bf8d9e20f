/** One run at a time for each key; who asks for it meanwhile shares it. */

interface Run<T> {
  readonly promise: Promise<T>;
  readonly isAhead: boolean;
}

/** Runs that somebody waits for, and runs begun ahead of any demand. */
export class SharedRuns<T> {
  readonly #runs = new Map<string, Run<T>>();

  has(key: string): boolean {
    return this.#runs.has(key);
  }

  /** How many runs ahead of demand are under way. */
  get aheadCount(): number {
    return [...this.#runs.values()].filter((run) => run.isAhead).length;
  }

  /** Joins the run of this key or starts it. Runs ahead of demand do not retry, so one that failed is followed by a run of our own. */
  async demand(key: string, work: () => Promise<T>): Promise<T> {
    for (let run = this.#runs.get(key); run?.isAhead === true; run = this.#runs.get(key)) {
      const outcome = await run.promise.then(
        (value) => ({ value }),
        // Its starter has logged the failure; what counts here is our own attempt below.
        () => undefined,
      );
      if (outcome !== undefined) return outcome.value;
    }
    return (this.#runs.get(key) ?? this.#start(key, work, false)).promise;
  }

  /** Starts a run that nobody waits for yet. The key must not be running. */
  ahead(key: string, work: () => Promise<T>): Promise<T> {
    return this.#start(key, work, true).promise;
  }

  /** Resolves when all present runs have ended, however they end. */
  async settle(): Promise<void> {
    await Promise.allSettled(Array.from(this.#runs.values(), (run) => run.promise));
  }

  #start(key: string, work: () => Promise<T>, isAhead: boolean): Run<T> {
    const promise = work().finally(() => this.#runs.delete(key));
    const run = { promise, isAhead };
    this.#runs.set(key, run);
    return run;
  }
}
