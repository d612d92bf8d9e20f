/** Where a restore without Temporal waits for a person: decisions come over the agent's socket, and lie in the journal before they count. */
import { setTimeout as delay } from 'node:timers/promises';
import type { WalkbackError } from '../domain/errors.ts';
import type { DecisionReport } from '../domain/landing-report.ts';
import type { DecisionInput, DecisionKind } from '../workflows/contract.ts';
import { type Decision, decisionOf, Decisions, type Question } from '../workflows/decisions.ts';
import type { Desk } from '../workflows/restore-world.ts';
import { type RestoreJournal, resultOf } from './direct-journal.ts';

/** What it works with. */
export interface DirectDeskOptions {
  readonly journal: RestoreJournal;
  /** Somebody wants the restore to end. */
  readonly cancelled: AbortSignal;
  /** The agent ends; the next one asks on. */
  readonly stopped: AbortSignal;
  /** Where the restore is, for the message of a refusal. */
  readonly phase: () => string;
}

/** Names in the journal. */
const [question, decision] = ['question', 'decision'] as const;

/** The desk of one restore. */
export class DirectDesk implements Desk {
  readonly #options: DirectDeskOptions;
  readonly #decisions: Decisions;
  #answer = Promise.withResolvers<DecisionReport>();

  constructor(options: DirectDeskOptions) {
    this.#options = options;
    this.#decisions = new Decisions(options.phase);
  }

  get decisions(): readonly DecisionReport[] {
    return this.#decisions.taken;
  }

  async ask(asked: Question, withinMinutes: number | undefined): Promise<Decision> {
    const { journal } = this.#options;
    const begun = journal.next(question);
    const since = begun === undefined ? Date.now() : Date.parse(resultOf(begun) as string);
    if (begun === undefined) await journal.record(question, { result: new Date(since).toISOString() });
    const known = journal.next(decision);
    if (known === undefined) {
      const deadlineMs = withinMinutes === undefined ? undefined : since + withinMinutes * 60_000;
      return decisionOf(await this.#wait(asked, deadlineMs), withinMinutes);
    }
    const given = resultOf(known) as DecisionReport | null;
    if (given !== null) this.#decisions.remember(given);
    return decisionOf(given ?? undefined, withinMinutes);
  }

  /** Takes a decision; durable when it resolves. @throws WalkbackError NOT_PAUSED, INVALID_REQUEST */
  async decide(kind: DecisionKind, input: DecisionInput): Promise<void> {
    this.#decisions.assert(kind, input);
    const given = this.#decisions.take(kind, input);
    try {
      await this.#options.journal.record(decision, { result: given });
      this.#answer.resolve(given);
    } catch (error) {
      // A restore whose journal cannot be written ends, and who decided hears of it too.
      this.#answer.reject(error);
      throw error;
    }
  }

  /** @returns undefined when the deadline has passed */
  async #wait(asked: Question, deadlineMs: number | undefined): Promise<DecisionReport | undefined> {
    const { journal, cancelled, stopped } = this.#options;
    this.#answer = Promise.withResolvers<DecisionReport>();
    this.#decisions.open(asked);
    const over = new AbortController();
    const waitMs = deadlineMs === undefined ? undefined : Math.max(0, deadlineMs - Date.now());
    const signal = AbortSignal.any([over.signal, cancelled, stopped]);
    try {
      await Promise.race([this.#answer.promise, passed(waitMs, signal)]);
      // One that was taken in the same moment counts, once it is written.
      if (this.#decisions.given !== undefined) return await this.#answer.promise;
    } finally {
      over.abort();
      this.#decisions.close();
    }
    if (stopped.aborted) return await new Promise<never>(() => undefined);
    if (!cancelled.aborted) {
      await journal.record(decision, { result: null });
      return undefined;
    }
    const { code, message, hint, facts } = cancelled.reason as WalkbackError;
    await journal.record(decision, { failure: { code, message, hint, facts } });
    throw cancelled.reason;
  }
}

/** Resolves after the time, or when the signal is aborted; without a time only then. */
async function passed(waitMs: number | undefined, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  if (waitMs !== undefined) return await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
