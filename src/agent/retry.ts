/** Patience with an object store that does not answer. */
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../domain/errors.ts';

/** How long the same work is tried again. */
export interface Patience {
  /** After this no new attempt begins. */
  readonly totalMs: number;
  /** Doubles with every attempt. */
  readonly firstDelayMs: number;
  readonly maximumDelayMs: number;
}

/** Repeats work that fails with a retryable error of the catalogue. @throws the last error */
export async function retryWhileUnavailable<T>(work: () => Promise<T>, options: Patience & { readonly signal: AbortSignal }): Promise<T> {
  const deadline = performance.now() + options.totalMs;
  for (let delayMs = options.firstDelayMs; ; delayMs = Math.min(delayMs * 2, options.maximumDelayMs)) {
    try {
      return await work();
    } catch (error) {
      const isFinal = !(error instanceof WalkbackError) || !error.retryable || performance.now() + delayMs > deadline;
      if (isFinal || options.signal.aborted) throw error;
      await delay(delayMs, undefined, { signal: options.signal });
    }
  }
}
