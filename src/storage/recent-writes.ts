/** Keys that this process wrote a moment ago: a store that is consistent only eventually may still say 404 for them. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Longer than any store is known to take. */
const rememberedMs = 60_000;
/** More keys than are written in that time; beyond them the oldest are forgotten. */
const rememberedMaximumCount = 10_000;
/** Pauses before a key that was just written is asked for again; after them the store is believed. */
const pausesMs = [100, 200, 400, 800, 1600] as const;

/** What was written, and when. */
export class RecentWrites {
  readonly #writtenAtMs = new Map<string, number>();

  note(key: string): void {
    this.#writtenAtMs.delete(key);
    this.#writtenAtMs.set(key, performance.now());
    const [oldest] = this.#writtenAtMs.keys();
    if (this.#writtenAtMs.size > rememberedMaximumCount && oldest !== undefined) this.#writtenAtMs.delete(oldest);
  }

  forget(key: string): void {
    this.#writtenAtMs.delete(key);
  }

  /** Asks, and asks again while a key that was just written is said to be absent. */
  async ask<T>(key: string, ask: () => Promise<T | undefined>, signal: AbortSignal | undefined): Promise<T | undefined> {
    for (const pauseMs of pausesMs) {
      const answer = await ask();
      if (answer !== undefined || !this.#isRecent(key)) return answer;
      // An aborted pause ends the loop early; the next question then says that it was cancelled.
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
    }
    return await ask();
  }

  #isRecent(key: string): boolean {
    const writtenAtMs = this.#writtenAtMs.get(key);
    return writtenAtMs !== undefined && performance.now() - writtenAtMs < rememberedMs;
  }
}
