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
import type { Desk } from '../workflows/restore-world.ts';
import { DirectJournal } from './direct-journal.ts';
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
  readonly cancel: AbortController;
  activity: ActivityProgress;
  ended: DirectRestoreState['ended'];
}

/** How long an agent that ends waits for what runs. */
const closeGraceMs = 30_000;
const endedPollMs = 20;
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
    const { phase, summary, steps } = run.steps.state;
    return { restoreId, phase, summary, steps: [...steps], activity: { ...run.activity }, ended: run.ended };
  }

  /** Has it end as a cancelled workflow does. */
  cancel(restoreId: string): void {
    const run = this.#runs.get(restoreId);
    if (run === undefined) throw new WalkbackError('NOT_FOUND', `No restore ${restoreId} runs in this agent.`);
    run.cancel.abort(new WalkbackError('CANCELLED', 'The restore was cancelled.'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const deadlineMs = Date.now() + closeGraceMs;
    while (this.#running > 0 && Date.now() < deadlineMs) await delay(endedPollMs);
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

  async #begin(restoreId: string, request: CompleteRestoreRequest): Promise<Run> {
    const path = join(this.#options.directory, `${createHash('sha256').update(restoreId).digest('hex')}.jsonl`);
    const journal = await DirectJournal.open(path, { runId: randomUUID(), request });
    const cancel = new AbortController();
    const world = new DirectWorld({
      ...this.#options,
      restoreId,
      control: this.#counted(this.#options.control),
      host: this.#counted(this.#options.host),
      journal,
      cancelled: cancel.signal,
      stopped: this.#options.signal,
      onProgress: (progress) => {
        run.activity = progress;
      },
    });
    const steps = new RestoreSteps(world, () => '');
    const run: Run = { restoreId, request, askers: new Set(), steps, cancel, activity: {}, ended: null };
    this.#forgetEnded();
    this.#runs.set(restoreId, run);
    this.#options.log.info({ restoreId, isResumed: journal.isResumed }, 'A restore runs without Temporal.');
    void this.#runToEnd(run, journal);
    return run;
  }

  /** An agent that ends leaves the journal for the next. */
  async #runToEnd(run: Run, journal: DirectJournal): Promise<void> {
    await using _ = journal;
    try {
      const report = await restore(journal.request, run.steps, noDesk);
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

function assertDirect(request: CompleteRestoreRequest, hostId: string): void {
  const refused = (what: string) =>
    new WalkbackError('INVALID_REQUEST', `A restore with --direct takes no decisions, since they come through Temporal: ${what}.`, {
      hint: 'Choose --at-target promote, and for an early end promote-if-complete, promote or fail.',
    });
  if (request.atTarget === 'pause') throw refused('it cannot pause at its target');
  if (request.onEarlyEnd === 'ask') throw refused('it cannot ask what to do about an early end');
  if (request.decisionWithinMinutes !== undefined) throw refused('there is none to wait for');
  if (request.protect) {
    throw new WalkbackError('INVALID_REQUEST', 'A restore with --direct takes no base backup: that is a workflow of Temporal.', {
      hint: 'Leave --protect out, and take one with `walkback backup` once Temporal runs again.',
    });
  }
  if (request.host === hostId) return;
  throw new WalkbackError(
    'INVALID_REQUEST',
    `A restore with --direct lands on the host of the agent that runs it: ${hostId}, not ${request.host}.`,
    {
      hint: `Run the command on ${request.host}.`,
    },
  );
}

/** Nobody is asked: requests that could ask are refused. */
const noDesk: Desk = {
  decisions: [],
  ask: async () => {
    throw new WalkbackError('ABORTED', 'A decision is needed, and a restore with --direct takes none.');
  },
};
