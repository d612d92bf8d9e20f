/** Where a restore that Temporal runs waits for a person: decisions come as updates. */
import { condition, setHandler } from '@temporalio/workflow';
import type { DecisionReport } from '../domain/landing-report.ts';
import type { DecisionAccepted, DecisionInput, DecisionKind } from './contract.ts';
import { type Decision, decisionOf, Decisions, type Question } from './decisions.ts';
import { applicationFailureOf, walkbackErrorOf } from './failures.ts';
import { abort, advance, promote, retry } from './restore-messages.ts';
import type { Desk } from './restore-world.ts';

/** The desk of one workflow run; making it sets the handlers. */
export class DecisionDesk implements Desk {
  readonly #decisions: Decisions;

  /** @param phase where the restore is, for the message of a refusal */
  constructor(phase: () => string) {
    this.#decisions = new Decisions(phase);
    const validator = (kind: DecisionKind) => (input?: DecisionInput) => refusing(() => this.#decisions.assert(kind, input));
    setHandler(promote, (input) => this.#take('promote', input), {
      description: 'Ends the wait: the restored cluster becomes one of its own',
      validator: validator('promote'),
    });
    setHandler(advance, (input) => this.#take('advance', input), {
      description: 'Goes on to a later target on the same directory, without a download of the base backup',
      validator: validator('advance'),
    });
    setHandler(retry, (input) => this.#take('retry', input), {
      description: 'Looks for WAL that was archived meanwhile and tries the same target again',
      validator: validator('retry'),
    });
    setHandler(abort, (input) => this.#take('abort', input), {
      description: 'Gives the restore up for the reason given: PostgreSQL is stopped, the directory kept',
      validator: validator('abort'),
    });
  }

  get decisions(): readonly DecisionReport[] {
    return this.#decisions.taken;
  }

  async ask(question: Question, withinMinutes: number | undefined): Promise<Decision> {
    this.#decisions.open(question);
    const isGiven = () => this.#decisions.given !== undefined;
    if (withinMinutes === undefined) await condition(isGiven);
    else await condition(isGiven, withinMinutes * 60_000);
    this.#decisions.close();
    return decisionOf(this.#decisions.given, withinMinutes);
  }

  #take(decision: DecisionKind, input: DecisionInput | undefined): DecisionAccepted {
    this.#decisions.take(decision, input);
    return { accepted: true };
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
