/** Where a restore waits for a person: the decisions it takes while it waits, each checked before it counts, all remembered. */
import { condition, setHandler } from '@temporalio/workflow';
import { WalkbackError } from '../domain/errors.ts';
import type { DecisionReport } from '../domain/landing-report.ts';
import { completeTarget, describeTarget, type RecoveryTarget } from '../domain/recovery-target.ts';
import type { AdvanceInput, DecisionAccepted, DecisionInput, DecisionKind } from './contract.ts';
import { applicationFailureOf, walkbackErrorOf } from './failures.ts';
import { abort, advance, promote, retry } from './restore-messages.ts';

/** A decision. */
export type Decision = { readonly kind: 'promote' | 'retry' } | { readonly kind: 'advance'; readonly target: RecoveryTarget };

/** What is waited for. */
export interface Question {
  readonly accepted: readonly DecisionKind[];
  /** Why a target is no later one than where the restore stands; undefined when it is. */
  readonly whyNotLater?: (target: RecoveryTarget) => string | undefined;
}

const reasonMaximumLength = 500;

/** The desk of one workflow run; making it sets the handlers. */
export class DecisionDesk {
  readonly #phase: () => string;
  readonly #decisions: DecisionReport[] = [];
  #question: Question | undefined;
  #given: DecisionReport | undefined;

  /** @param phase where the restore is, for the message of a refusal */
  constructor(phase: () => string) {
    this.#phase = phase;
    const validator = (kind: DecisionKind) => (input?: DecisionInput) => refusing(() => this.#assertTakes(kind, input));
    setHandler(promote, (input) => this.#take('promote', input), {
      description: 'Ends the wait: the restored cluster becomes one of its own',
      validator: validator('promote'),
    });
    setHandler(advance, (input) => this.#take('advance', input, completeTarget(input.target)), {
      description: 'Goes on to a later target on the same directory, without a download of the base backup',
      validator: (input) => refusing(() => this.#assertAdvances(input)),
    });
    setHandler(retry, (input) => this.#take('retry', input), {
      description: 'Looks for WAL that was archived meanwhile and tries the same target again',
      validator: validator('retry'),
    });
    setHandler(abort, (input) => this.#take('abort', input), {
      description: 'Gives the restore up for the reason given: PostgreSQL is stopped, the directory kept',
      validator: (input) => refusing(() => this.#assertAborts(input)),
    });
  }

  /** All decisions so far. */
  get decisions(): readonly DecisionReport[] {
    return this.#decisions;
  }

  /**
   * Waits for a decision.
   * @param withinMinutes a deadline; undefined waits for ever
   * @throws WalkbackError ABORTED when it was decided to, or the deadline has passed
   */
  async ask(question: Question, withinMinutes: number | undefined): Promise<Decision> {
    this.#question = question;
    this.#given = undefined;
    if (withinMinutes === undefined) await condition(() => this.#given !== undefined);
    else await condition(() => this.#given !== undefined, withinMinutes * 60_000);
    this.#question = undefined;
    return decisionOf(this.#given, withinMinutes);
  }

  #take(decision: DecisionKind, input: DecisionInput | undefined, target: RecoveryTarget | null = null): DecisionAccepted {
    this.#given = { decision, at: new Date().toISOString(), reason: input?.reason ?? null, target };
    this.#decisions.push(this.#given);
    return { accepted: true };
  }

  #assertTakes(kind: DecisionKind, input: DecisionInput | undefined): void {
    if (this.#question?.accepted.includes(kind) !== true || this.#given !== undefined) {
      const waits = this.#question === undefined ? 'it waits for no decision' : `it takes ${this.#question.accepted.join(', ')}`;
      throw new WalkbackError('NOT_PAUSED', `The restore does not take "${kind}" now: it is in the phase ${this.#phase()}, and ${waits}.`);
    }
    if (input?.reason === undefined || (typeof input.reason === 'string' && input.reason.length <= reasonMaximumLength)) return;
    throw new WalkbackError('INVALID_REQUEST', `A reason is a text of at most ${reasonMaximumLength} characters.`);
  }

  #assertAdvances(input: AdvanceInput): void {
    this.#assertTakes('advance', input);
    if (typeof input?.target !== 'object') throw new WalkbackError('INVALID_REQUEST', 'advance needs a target.');
    const target = completeTarget(input.target);
    const why = this.#question?.whyNotLater?.(target);
    if (why === undefined) return;
    throw new WalkbackError('INVALID_REQUEST', `The restore cannot go on to ${describeTarget(target)}: ${why}.`, {
      hint: 'Recovery only goes forward on one directory: an earlier target needs a new restore.',
    });
  }

  #assertAborts(input: DecisionInput): void {
    this.#assertTakes('abort', input);
    if (typeof input?.reason !== 'string' || input.reason.trim() === '')
      throw new WalkbackError('INVALID_REQUEST', 'abort needs a reason, which is kept.');
  }
}

/** A refused update carries the code to its sender only as an ApplicationFailure's type. */
function refusing(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw applicationFailureOf(walkbackErrorOf(error));
  }
}

function decisionOf(given: DecisionReport | undefined, withinMinutes: number | undefined): Decision {
  if (given === undefined)
    throw new WalkbackError(
      'ABORTED',
      `Nobody decided within ${withinMinutes} minutes, as the request allowed, so the restore was aborted.`,
    );
  if (given.decision === 'abort') throw new WalkbackError('ABORTED', `The restore was aborted at ${given.at}: ${given.reason}.`);
  if (given.decision !== 'advance' || given.target === null) return { kind: given.decision === 'retry' ? 'retry' : 'promote' };
  return { kind: 'advance', target: given.target };
}
