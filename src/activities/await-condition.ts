/** Waiting for something to become true, with a bound. */
import { setTimeout as delay } from 'node:timers/promises';

/** How long and how often to look. */
export interface WaitOptions {
  readonly timeoutMs: number;
  readonly pollIntervalMs: number;
  readonly signal: AbortSignal;
  /** What to throw when the time is up. */
  readonly onTimeout: () => Error;
}

/** Looks until it gets a value. @throws what onTimeout makes, or the signal's reason */
export async function awaitValue<T>(look: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const deadlineMs = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal.throwIfAborted();
    const value = await look();
    if (value !== undefined) return value;
    if (performance.now() >= deadlineMs) throw options.onTimeout();
    await delay(options.pollIntervalMs, undefined, { signal: options.signal });
  }
}
