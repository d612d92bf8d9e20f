/** The world of a restore that runs in an agent, without Temporal: activities are called one after the other, retried and remembered. */
import { setTimeout as delay } from 'node:timers/promises';
import { callDirectly } from '../activities/activity-call.ts';
import type { ActivityProgress, Attempted, ControlActivities, HostActivities } from '../activities/types.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { retryOf, type StepRetry, type Summarized } from '../workflows/activity-options.ts';
import { takeBaseBackup } from '../workflows/base-backup.ts';
import type { BackupPhase, BaseBackupReport, BaseBackupRequest } from '../workflows/contract.ts';
import type { RestoreWorld } from '../workflows/restore-world.ts';
import { StepRecorder } from '../workflows/step-recorder.ts';
import { type RecordedOutcome, type RestoreJournal, resultOf } from './direct-journal.ts';

/** What it works with. */
export interface DirectWorldOptions {
  readonly restoreId: string;
  readonly hostId: string;
  readonly journal: RestoreJournal;
  readonly control: ControlActivities;
  readonly host: HostActivities;
  /** Somebody wants the restore to end. */
  readonly cancelled: AbortSignal;
  /** The agent ends; the next one goes on. */
  readonly stopped: AbortSignal;
  readonly onProgress: (progress: ActivityProgress) => void;
}

/** In the claim on a base backup: no namespace of Temporal's has such a name, so retention does not ask Temporal about it. */
const namespace = '(no Temporal)';

type Activity = (input: unknown) => Promise<Attempted<unknown>>;

/** One restore's. */
export class DirectWorld implements RestoreWorld {
  readonly restoreId: string;
  readonly runId: string;
  readonly control: Summarized<ControlActivities>;
  readonly display = { phase: () => undefined, details: () => undefined };
  readonly #options: DirectWorldOptions;
  readonly #host: Summarized<HostActivities>;
  /** Depth of work that a cancellation does not end. */
  #shields = 0;
  #calls = 0;

  constructor(options: DirectWorldOptions) {
    this.#options = options;
    this.restoreId = options.restoreId;
    this.runId = options.journal.runId;
    this.control = this.#callable(options.control);
    this.#host = this.#callable(options.host);
  }

  host(host: string): Summarized<HostActivities> {
    if (host === this.#options.hostId) return this.#host;
    return this.#callable(this.#options.host, () => {
      throw new WalkbackError('NO_AGENT_ON_HOST', `A restore with --direct asks nobody on another host, and this step is for ${host}.`, {
        hint: 'Restore with --source leave, or on the host of the source.',
        facts: { host },
      });
    });
  }

  knows(): boolean {
    return true;
  }

  isCancellation(error: unknown): boolean {
    return error instanceof WalkbackError && error.code === 'CANCELLED';
  }

  async uncancelled<T>(work: () => Promise<T>): Promise<T> {
    this.#shields += 1;
    try {
      return await work();
    } finally {
      this.#shields -= 1;
    }
  }

  async sleep(milliseconds: number): Promise<void> {
    await this.#pause(milliseconds, this.#signal());
    this.#signal().throwIfAborted();
  }

  async takeBackup(request: BaseBackupRequest): Promise<BaseBackupReport> {
    return await takeBaseBackup(request, new StepRecorder<BackupPhase>('check-source', () => '', this.display), this);
  }

  #signal(): AbortSignal {
    const { cancelled, stopped } = this.#options;
    return this.#shields > 0 ? stopped : AbortSignal.any([cancelled, stopped]);
  }

  /** An agent that ends says nothing to the story: it is told by the next agent. */
  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    await delay(milliseconds, undefined, { signal }).catch(() => undefined);
    if (this.#options.stopped.aborted) await never;
  }

  #callable<T extends object>(activities: T, instead?: Activity): Summarized<T> {
    const entries = Object.entries(activities).map(([name, activity]) => [
      name,
      async (_summary: string, input: unknown) => await this.#call(name, instead ?? (activity as Activity), input),
    ]);
    return Object.fromEntries(entries) as Summarized<T>;
  }

  async #call(name: string, activity: Activity, input: unknown): Promise<unknown> {
    const { journal } = this.#options;
    const recorded = journal.next(name);
    if (recorded !== undefined) return resultOf(recorded);
    this.#calls += 1;
    const outcome = await this.#outcomeOf(name, activity, input);
    await journal.record(name, outcome);
    return resultOf(outcome);
  }

  /** Tries for as long as Temporal would. */
  async #outcomeOf(name: string, activity: Activity, input: unknown): Promise<RecordedOutcome> {
    const retry = retryOf(name as keyof ControlActivities | keyof HostActivities);
    for (let attempt = 1; ; attempt += 1) {
      const signal = this.#signal();
      try {
        return { result: JSON.parse(JSON.stringify(await this.#attempt(attempt, { signal, activity, input }))) as unknown };
      } catch (error) {
        if (this.#options.stopped.aborted) await never;
        const known = signal.aborted ? (signal.reason as WalkbackError) : knownError(error);
        if (signal.aborted || !known.retryable || attempt >= retry.maximumAttempts) return failureOf(known);
        this.#options.onProgress({ note: `attempt ${attempt}: ${known.message}` });
        await this.#pause(delayBefore(attempt + 1, retry), signal);
      }
    }
  }

  async #attempt(attempt: number, call: { signal: AbortSignal; activity: Activity; input: unknown }): Promise<unknown> {
    const { restoreId } = this;
    const activityKey = `${this.runId}/${this.#calls}`;
    const { signal, activity, input } = call;
    const run = { restoreId, namespace, activityKey, attempt, signal, beat: this.#options.onProgress, failureOf: knownError };
    return await callDirectly(run, () => activity(input));
  }
}

/** The story is dropped where it stands. */
const never = new Promise<never>(() => undefined);

function knownError(error: unknown): WalkbackError {
  return error instanceof WalkbackError ? error : new WalkbackError('INTERNAL', messageOf(error), { cause: error });
}

function delayBefore(attempt: number, { initialInterval, backoffCoefficient, maximumInterval }: StepRetry): number {
  return Math.min(initialInterval * backoffCoefficient ** (attempt - 2), maximumInterval);
}

function failureOf({ code, message, hint, facts }: WalkbackError): RecordedOutcome {
  return { failure: { code, message, hint, facts } };
}
