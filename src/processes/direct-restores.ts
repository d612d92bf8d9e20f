/** Restores that an agent runs by itself, without Temporal: the same story, the same activities, the same marker and claims. */
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ActivityProgress, ControlActivities, HostActivities } from '../activities/types.ts';
import type { DirectRestoreState } from '../agent/protocol.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { type CompleteRestoreRequest, completeRestoreRequest, type RestoreRequest } from '../domain/restore-request.ts';
import { directRestoreId } from '../domain/workflow-ids.ts';
import { restore } from '../workflows/point-in-time-restore.ts';
import { RestoreSteps } from '../workflows/restore-steps.ts';
import type { PlanReport } from '../domain/plan-report.ts';
import type { DecisionInput, DecisionKind } from '../workflows/contract.ts';
import { planOf } from '../workflows/plan-restore.ts';
import { DirectDesk } from './direct-desk.ts';
import { DirectJournal, type RestoreJournal } from './direct-journal.ts';
import { DirectWorld } from './direct-world.ts';
import type { ProcessLog } from './log.ts';

/** What they work with. */
export interface DirectRestoresOptions {
  readonly hostId: string;
  /** Journals lie here. */
  readonly directory: string;
  readonly control: ControlActivities;
  readonly host: HostActivities;
  readonly log: ProcessLog;
  /** The agent ends. */
  readonly signal: AbortSignal;
}

interface Run {
  readonly restoreId: string;
  readonly request: CompleteRestoreRequest;
  /** Who follows it: they are told how it ended, and whoever comes later begins another one. */
  readonly askers: Set<string>;
  readonly steps: RestoreSteps;
  readonly desk: DirectDesk;
  readonly journal: DirectJournal;
  readonly cancel: AbortController;
  activity: ActivityProgress;
  ended: DirectRestoreState['ended'];
}

/** How long an agent that ends waits for what runs. */
const closeGraceMs = 30_000;
const endedPollMs = 20;
/** How long the story may take to come to where an agent before this one left it: nothing is done meanwhile. */
const catchUpWithinMs = 30_000;
const catchUpPollMs = 20;
/** Restores that have ended, for those who ask once more. */
const rememberedMaximumCount = 20;

/** All of one agent. */
export class DirectRestores implements AsyncDisposable {
  readonly #options: DirectRestoresOptions;
  readonly #runs = new Map<string, Run>();
  /** Of two that ask for the same at once, the second gets the first one's. */
  readonly #beginning = new Map<string, Promise<Run>>();
  /** Activities that run now. */
  #running = 0;

  constructor(options: DirectRestoresOptions) {
    this.#options = options;
  }

  /**
   * Begins a restore, or goes on with the one that an agent before this one has begun, or tells how far it is.
   * @param asker the same for as long as somebody follows it
   * @throws WalkbackError INVALID_REQUEST and whatever speaks against its form; ALREADY_RUNNING when another request runs into that directory
   */
  async follow(input: RestoreRequest, asker: string): Promise<DirectRestoreState> {
    const request = completeRestoreRequest(input, new Date());
    assertDirect(request, this.#options.hostId);
    const restoreId = directRestoreId(request.host, request.dataDirectory);
    const known = this.#runs.get(restoreId);
    const isFollowed = known !== undefined && (known.ended === null || known.askers.has(asker));
    const run = isFollowed ? known : await this.#beginOnce(restoreId, request);
    if (JSON.stringify(run.request) !== JSON.stringify(request)) {
      throw new WalkbackError('ALREADY_RUNNING', `Another restore into ${request.dataDirectory} runs on this host.`, {
        facts: { restoreId },
      });
    }
    run.askers.add(asker);
    return stateOf(run);
  }

  /** How far one is that was begun; one that an agent before this one has begun goes on. @throws WalkbackError NOT_FOUND */
  async state(restoreId: string): Promise<DirectRestoreState> {
    return stateOf(await this.#runOf(restoreId));
  }

  /** Takes a decision of one that waits; durable when it resolves. @throws WalkbackError NOT_FOUND, NOT_PAUSED, INVALID_REQUEST */
  async decide(restoreId: string, kind: DecisionKind, input: DecisionInput): Promise<void> {
    const run = await this.#runOf(restoreId);
    const deadlineMs = performance.now() + catchUpWithinMs;
    while (run.journal.isBehind && run.ended === null && performance.now() < deadlineMs) await delay(catchUpPollMs);
    await run.desk.decide(kind, input);
  }

  /** Has it end as a cancelled workflow does. @throws WalkbackError NOT_FOUND */
  async cancel(restoreId: string): Promise<void> {
    (await this.#runOf(restoreId)).cancel.abort(new WalkbackError('CANCELLED', 'The restore was cancelled.'));
  }

  /** What a restore would do; does nothing. @throws WalkbackError INVALID_REQUEST and whatever speaks against the form of the request */
  async plan(input: RestoreRequest): Promise<PlanReport> {
    const request = completeRestoreRequest(input, new Date());
    assertDirect(request, this.#options.hostId);
    const restoreId = directRestoreId(request.host, request.dataDirectory);
    return await planOf(request, this.#worldOf(restoreId, { journal: nothingToRemember(), cancelled: this.#options.signal }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const deadlineMs = performance.now() + closeGraceMs;
    while (this.#running > 0 && performance.now() < deadlineMs) await delay(endedPollMs);
  }

  async #beginOnce(restoreId: string, request: CompleteRestoreRequest): Promise<Run> {
    const beginning = this.#beginning.get(restoreId) ?? this.#begin(restoreId, request);
    this.#beginning.set(restoreId, beginning);
    try {
      return await beginning;
    } finally {
      this.#beginning.delete(restoreId);
    }
  }

  /** Also one that ended a while ago. */
  async #runOf(restoreId: string): Promise<Run> {
    const known = this.#runs.get(restoreId);
    if (known !== undefined) return known;
    const request = await DirectJournal.requestOf(this.#journalPath(restoreId));
    if (request !== undefined) return await this.#beginOnce(restoreId, request);
    throw new WalkbackError('NOT_FOUND', `This agent knows no restore ${restoreId} that was begun and has not ended.`, {
      hint: 'A restore without Temporal is known to the agent of its host alone; how one ended is told by `walkback report`.',
    });
  }

  async #begin(restoreId: string, request: CompleteRestoreRequest): Promise<Run> {
    const journal = await DirectJournal.open(this.#journalPath(restoreId), { runId: randomUUID(), request });
    const cancel = new AbortController();
    const onProgress = (progress: ActivityProgress): void => {
      run.activity = progress;
    };
    const steps = new RestoreSteps(this.#worldOf(restoreId, { journal, cancelled: cancel.signal, onProgress }), () => '');
    const phase = () => steps.state.phase;
    const desk = new DirectDesk({ journal, cancelled: cancel.signal, stopped: this.#options.signal, phase });
    const run: Run = { restoreId, request, askers: new Set(), steps, desk, journal, cancel, activity: {}, ended: null };
    this.#forgetEnded();
    this.#runs.set(restoreId, run);
    this.#options.log.info({ restoreId, isResumed: journal.isResumed }, 'A restore runs without Temporal.');
    void this.#runToEnd(run, journal);
    return run;
  }

  #worldOf(
    restoreId: string,
    own: { readonly journal: RestoreJournal; readonly cancelled: AbortSignal; readonly onProgress?: (progress: ActivityProgress) => void },
  ): DirectWorld {
    const [control, host] = [this.#counted(this.#options.control), this.#counted(this.#options.host)];
    return new DirectWorld({
      onProgress: () => undefined,
      ...own,
      restoreId,
      control,
      host,
      hostId: this.#options.hostId,
      stopped: this.#options.signal,
    });
  }

  #journalPath(restoreId: string): string {
    return join(this.#options.directory, `${createHash('sha256').update(restoreId).digest('hex')}.jsonl`);
  }

  /** An agent that ends leaves the journal for the next. */
  async #runToEnd(run: Run, journal: DirectJournal): Promise<void> {
    await using _ = journal;
    try {
      const report = await restore(journal.request, run.steps, run.desk);
      await journal.remove();
      run.ended = { report: report as unknown as Record<string, unknown> };
    } catch (error) {
      const { code, message, hint, facts } = error instanceof WalkbackError ? error : new WalkbackError('INTERNAL', messageOf(error));
      this.#options.log.error({ restoreId: run.restoreId, code, reason: message }, 'A restore without Temporal has failed.');
      await journal.remove();
      run.ended = { error: { code, message, hint, facts } };
    }
  }

  /** Whoever followed the oldest has long heard how they ended. */
  #forgetEnded(): void {
    const ended = [...this.#runs].filter(([, run]) => run.ended !== null);
    for (const [restoreId] of ended.slice(0, Math.max(0, ended.length - rememberedMaximumCount))) this.#runs.delete(restoreId);
  }

  #counted<T extends object>(activities: T): T {
    const entries = Object.entries(activities).map(([name, activity]) => [
      name,
      async (input: unknown) => {
        this.#running += 1;
        try {
          return await (activity as (input: unknown) => Promise<unknown>)(input);
        } finally {
          this.#running -= 1;
        }
      },
    ]);
    return Object.fromEntries(entries) as T;
  }
}

function stateOf({ restoreId, steps, activity, ended }: Run): DirectRestoreState {
  const { phase, summary, waitingFor, steps: done } = steps.state;
  return { restoreId, phase, summary, waitingFor, steps: [...done], activity: { ...activity }, ended };
}

/** Of work that changes nothing: after a crash it is asked for again. */
function nothingToRemember(): RestoreJournal {
  return { runId: randomUUID(), next: () => undefined, record: async () => undefined };
}

function assertDirect(request: CompleteRestoreRequest, hostId: string): void {
  if (request.host === hostId) return;
  throw new WalkbackError(
    'INVALID_REQUEST',
    `A restore with --direct lands on the host of the agent that runs it: ${hostId}, not ${request.host}.`,
    {
      hint: `Run the command on ${request.host}.`,
    },
  );
}
