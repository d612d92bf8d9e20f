/** The decisions of a restore that waits for a person, each checked before it counts, all remembered. Who hands them in is not their matter. */
import { WalkbackError } from '../domain/errors.ts';
import type { DecisionReport } from '../domain/landing-report.ts';
import { completeTarget, describeTarget, type RecoveryTarget } from '../domain/recovery-target.ts';
import type { AdvanceInput, DecisionInput, DecisionKind } from './contract.ts';

/** A decision. */
export type Decision = { readonly kind: 'promote' | 'retry' } | { readonly kind: 'advance'; readonly target: RecoveryTarget };

/** What is waited for. */
export interface Question {
  readonly accepted: readonly DecisionKind[];
  /** Why a target is no later one than where the restore stands; undefined when it is. */
  readonly whyNotLater?: (target: RecoveryTarget) => string | undefined;
}

const reasonMaximumLength = 500;

/** Of one run of a restore. */
export class Decisions {
  readonly #phase: () => string;
  readonly #taken: DecisionReport[] = [];
  #question: Question | undefined;
  #given: DecisionReport | undefined;

  /** @param phase where the restore is, for the message of a refusal */
  constructor(phase: () => string) {
    this.#phase = phase;
  }

  /** All decisions so far. */
  get taken(): readonly DecisionReport[] {
    return this.#taken;
  }

  /** The answer to the open question. */
  get given(): DecisionReport | undefined {
    return this.#given;
  }

  /** From now on decisions are taken, one of them. */
  open(question: Question): void {
    this.#question = question;
    this.#given = undefined;
  }

  /** From now on none is taken. */
  close(): void {
    this.#question = undefined;
  }

  /** @throws WalkbackError NOT_PAUSED when it is not waited for, INVALID_REQUEST when its input is not what it needs */
  assert(kind: DecisionKind, input: DecisionInput | undefined): void {
    this.#assertTakes(kind, input);
    if (kind === 'advance') this.#assertAdvances(input as AdvanceInput);
    if (kind === 'abort' && (typeof input?.reason !== 'string' || input.reason.trim() === ''))
      throw new WalkbackError('INVALID_REQUEST', 'abort needs a reason, which is kept.');
  }

  /** Takes one that was checked. */
  take(decision: DecisionKind, input: DecisionInput | undefined): DecisionReport {
    const target = decision === 'advance' ? completeTarget((input as AdvanceInput).target) : null;
    const given = { decision, at: new Date().toISOString(), reason: input?.reason ?? null, target };
    this.#given = given;
    this.#taken.push(given);
    return given;
  }

  /** One that a run before this one has taken. */
  remember(decision: DecisionReport): void {
    this.#taken.push(decision);
  }

  #assertTakes(kind: DecisionKind, input: DecisionInput | undefined): void {
    if (this.#question?.accepted.includes(kind) !== true || this.#given !== undefined) {
      const waits = this.#question === undefined ? 'it waits for no decision' : `it takes ${this.#question.accepted.join(', ')}`;
      throw new WalkbackError('NOT_PAUSED', `The restore does not take "${kind}" now: it is in the phase ${this.#phase()}, and ${waits}.`);
    }
    if (input?.reason === undefined || (typeof input.reason === 'string' && input.reason.length <= reasonMaximumLength)) return;
    throw new WalkbackError('INVALID_REQUEST', `A reason is a text of at most ${reasonMaximumLength} characters.`);
  }

  #assertAdvances(input: AdvanceInput | undefined): void {
    if (typeof input?.target !== 'object') throw new WalkbackError('INVALID_REQUEST', 'advance needs a target.');
    const target = completeTarget(input.target);
    const why = this.#question?.whyNotLater?.(target);
    if (why === undefined) return;
    throw new WalkbackError('INVALID_REQUEST', `The restore cannot go on to ${describeTarget(target)}: ${why}.`, {
      hint: 'Recovery only goes forward on one directory: an earlier target needs a new restore.',
    });
  }
}

/**
 * What the restore does by what was decided.
 * @param given undefined when nobody decided in time
 * @throws WalkbackError ABORTED when it was decided to, or the deadline has passed
 */
export function decisionOf(given: DecisionReport | undefined, withinMinutes: number | undefined): Decision {
  if (given === undefined)
    throw new WalkbackError(
      'ABORTED',
      `Nobody decided within ${withinMinutes} minutes, as the request allowed, so the restore was aborted.`,
    );
  if (given.decision === 'abort') throw new WalkbackError('ABORTED', `The restore was aborted at ${given.at}: ${given.reason}.`);
  if (given.decision !== 'advance' || given.target === null) return { kind: given.decision === 'retry' ? 'retry' : 'promote' };
  return { kind: 'advance', target: given.target };
}
