/** Waiting for something to become true, with a bound: what tests use where others sleep. */
import { setTimeout as wait } from 'node:timers/promises';

/** How long to wait, and for what. */
export interface WaitOptions {
  /** Default 10 000. */
  readonly timeoutMs?: number;
  /** Default 20. */
  readonly pollMs?: number;
  /** Completes the sentence "gave up waiting until …". */
  readonly description: string;
}

/**
 * Asks again and again until the answer is neither undefined nor false, and returns it. What the condition throws counts as "not yet".
 *
 * @throws Error after `timeoutMs`, with what the condition threw last as its cause.
 */
export async function waitUntil<Value>(
  condition: () => Value | undefined | false | Promise<Value | undefined | false>,
  { timeoutMs = 10_000, pollMs = 20, description }: WaitOptions,
): Promise<Value> {
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      cause = error;
    }
    if (Date.now() >= deadlineMs) throw new Error(`gave up after ${timeoutMs} ms waiting until ${description}`, { cause });
    await wait(pollMs);
  }
}
