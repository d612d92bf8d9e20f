/** Bounded parallel work over a list that may be produced while it is worked on. */

/**
 * Runs the work on every item, at most `concurrency` at a time. The first error (or an abort of the signal) aborts the signal that the
 * others were given; it is thrown when all of them have ended, so nothing runs on behind the caller's back.
 */
export async function forEachParallel<T>(
  items: Iterable<T> | AsyncIterable<T>,
  options: { readonly concurrency: number; readonly signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failure = new AbortController();
  const signal = options.signal === undefined ? failure.signal : AbortSignal.any([options.signal, failure.signal]);
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let firstError: { readonly error: unknown } | undefined;
  const run = async (): Promise<void> => {
    try {
      for (;;) {
        signal.throwIfAborted();
        const next = await iterator.next();
        if (next.done === true) return;
        await work(next.value, signal);
      }
    } catch (error) {
      firstError ??= { error };
      failure.abort(error);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, run));
  await iterator.return?.();
  if (firstError !== undefined) throw firstError.error;
}

/** Like Promise.all, but an error is thrown when all of them have ended, so that nothing runs on behind the caller's back. */
export async function allEnded<T extends readonly unknown[] | []>(promises: T): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** The results of the work, in the order of the items. */
export async function mapParallel<T, R>(
  items: Iterable<T>,
  options: { readonly concurrency: number; readonly signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  await forEachParallel([...items].entries(), options, async ([index, item], signal) => {
    results[index] = await work(item, signal);
  });
  return results;
}
