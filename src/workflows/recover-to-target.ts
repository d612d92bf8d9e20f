/** From a fetched base backup to a promoted server: start, await, and when recovery ends before the target, decide. */
import { sleep } from '@temporalio/workflow';
import type { Landing, RecoveryOutcome, RestoreJob } from '../activities/types.ts';
import { classifyEarlyEnd, landedRight, type SourceProof } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import { describeTarget } from '../domain/recovery-target.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { hostActivities } from './activity-options.ts';
import type { RestorePhase } from './contract.ts';
import type { StepRecorder } from './step-recorder.ts';

/** How often PostgreSQL may be started on one directory before the restore is given up: kill -9, a store outage, a full disk. */
const recoveryStartsMaximum = 20;
const restartDelayFirstMs = 500;
const restartDelayMaximumMs = 30_000;

/** What recovery needs. */
export interface RecoveryContext {
  readonly host: ReturnType<typeof hostActivities>;
  readonly steps: StepRecorder<RestorePhase>;
  readonly request: CompleteRestoreRequest;
  readonly job: RestoreJob;
  readonly sourceProof: SourceProof | undefined;
  /** Resolves when a person has decided to promote. */
  readonly promoted: () => Promise<void>;
}

/** The recovered part of the landing report. */
export type Recovered = Pick<
  LandingReport,
  'endReason' | 'lastCommitKept' | 'firstCommitLeftOut' | 'endLsn' | 'timeline' | 'earlyEndProof' | 'segmentsReplayed' | 'postgresLog'
>;

/**
 * Brings the server to its target and out of recovery.
 * @throws WalkbackError TARGET_NOT_PROVEN, LANDED_WRONG, RECOVERY_FAILED
 */
export async function recoverToTarget(context: RecoveryContext): Promise<Recovered> {
  let lastInterruption = '';
  let earlyEnd: { readonly proof: string; readonly landing: Landing } | undefined;
  for (let startNumber = 1; startNumber <= recoveryStartsMaximum; startNumber += 1) {
    const outcome = await startAndAwait(context, { startNumber, dropTarget: earlyEnd !== undefined });
    if (outcome.kind === 'promoted') return landed(context, outcome.landing, earlyEnd);
    if (outcome.kind === 'paused') {
      const promoted = await promoteAfterDecision(context, startNumber);
      if (promoted !== undefined) return landed(context, mergeLandings(outcome.landing, promoted), earlyEnd);
    } else if (outcome.kind === 'ended-early') {
      earlyEnd = { proof: assertComplete(context, outcome.landing), landing: outcome.landing };
      if (context.request.atTarget === 'pause') await context.promoted();
    } else {
      lastInterruption = outcome.reason;
      await sleep(Math.min(restartDelayFirstMs * 2 ** (startNumber - 1), restartDelayMaximumMs), {
        summary: `Start again: ${outcome.reason}`.slice(0, 200),
      });
    }
  }
  throw new WalkbackError(
    'RECOVERY_FAILED',
    `PostgreSQL did not get through recovery in ${recoveryStartsMaximum} starts; the last interruption: ${lastInterruption}.`,
  );
}

async function startAndAwait(
  context: RecoveryContext,
  start: { readonly startNumber: number; readonly dropTarget: boolean },
): Promise<RecoveryOutcome> {
  const { host, steps, job } = context;
  const { startNumber, dropTarget } = start;
  const configure = dropTarget
    ? 'Drop the target on the same directory: the end of the WAL is the state asked for'
    : `Configure recovery to ${describeTarget(job.target)}`;
  await steps.run(dropTarget ? 'drop-target' : 'configure-recovery', configure, (summary) =>
    host.configureRecovery(summary, { job, dropTarget, startNumber }),
  );
  await steps.run('start-postgres', `Start PostgreSQL on ${job.dataDirectory}, closed to clients`, (summary) =>
    host.startPostgres(summary, { job, startNumber }),
  );
  return await steps.run('await-recovery', 'Await the end of recovery', (summary) =>
    host.awaitRecovery(summary, { job, startNumber, resumed: false }),
  );
}

/** @returns the landing, or undefined when the server was lost on the way and has to be started again */
async function promoteAfterDecision(context: RecoveryContext, startNumber: number): Promise<Landing | undefined> {
  const { host, steps, job } = context;
  await context.promoted();
  await steps.run('promote', `Promote ${job.name}`, (summary) => host.promotePaused(summary, job));
  const outcome = await steps.run('await-recovery', 'Await the end of recovery', (summary) =>
    host.awaitRecovery(summary, { job, startNumber, resumed: true }),
  );
  return outcome.kind === 'promoted' ? outcome.landing : undefined;
}

function assertComplete(context: RecoveryContext, landing: Landing): string {
  const { request, job, sourceProof } = context;
  const verdict = classifyEarlyEnd({
    target: request.target,
    view: job.plan.view,
    sourceProof,
    lastSegmentRestored: landing.lastSegmentRestored,
  });
  if (verdict.kind === 'complete' && request.onEarlyEnd === 'promote-if-complete') return verdict.proof;
  const last = landing.summary.lastCompletedTransactionTime;
  const why =
    verdict.kind === 'complete'
      ? 'The request says to fail then, although the end of the WAL is proven to be the state at the target.'
      : `It is not proven to be complete: ${verdict.reason}.`;
  throw new WalkbackError(
    'TARGET_NOT_PROVEN',
    `Recovery ended before the target ${describeTarget(request.target)}. ${why} The last commit in the WAL is of ${last ?? 'before the base backup'}.`,
    {
      facts: { lastCommit: last ?? null, verdict: verdict.kind },
    },
  );
}

function landed(
  context: RecoveryContext,
  landing: Landing,
  earlyEnd: { readonly proof: string; readonly landing: Landing } | undefined,
): Recovered {
  const { request } = context;
  const { stop, lastCompletedTransactionTime, endLsn } = landing.summary;
  const lastCommitKept = lastCompletedTransactionTime ?? earlyEnd?.landing.summary.lastCompletedTransactionTime;
  assertLandedRight(context, landing, { lastCommitKept, dropped: earlyEnd !== undefined });
  const before = stop?.kind === 'before' ? stop : undefined;
  return {
    endReason: earlyEnd !== undefined ? 'ended-early-proven-complete' : request.target.kind === 'latest' ? 'end-of-wal' : 'target-reached',
    lastCommitKept: lastCommitKept === undefined ? null : { time: lastCommitKept, xid: null },
    firstCommitLeftOut: before?.time === undefined ? null : { time: before.time, xid: before.xid ?? null },
    endLsn: endLsn ?? null,
    timeline: landing.timeline,
    earlyEndProof: earlyEnd?.proof ?? null,
    segmentsReplayed: Math.max(landing.summary.segmentsRestored, earlyEnd?.landing.summary.segmentsRestored ?? 0),
    postgresLog: [...(earlyEnd?.landing.logLines ?? []), ...landing.logLines],
  };
}

/** PostgreSQL's success proves nothing by itself: the log must say that it stopped where it was asked to (design.md, section 4, rule 6). */
function assertLandedRight(
  context: RecoveryContext,
  landing: Landing,
  facts: { readonly lastCommitKept: string | undefined; readonly dropped: boolean },
): void {
  const { request, job } = context;
  const wrong = (why: string) =>
    new WalkbackError('LANDED_WRONG', `Recovery to ${describeTarget(request.target)} did not land right: ${why}.`);
  if (!landedRight(request.target, facts.lastCommitKept)) throw wrong(`a commit of ${facts.lastCommitKept} was kept`);
  if (landing.timeline <= job.plan.timeline) throw wrong(`the server is on timeline ${landing.timeline}, which is not a new one`);
  if (request.target.kind === 'time' && !facts.dropped && landing.summary.stop === undefined)
    throw wrong('the log names no transaction at which replay stopped');
  const viewEnd = job.plan.view.segments.at(-1)?.last;
  const toTheEnd = request.target.kind === 'latest' || facts.dropped;
  if (toTheEnd && viewEnd !== landing.lastSegmentRestored)
    throw wrong(`replay ended after ${landing.lastSegmentRestored ?? 'no segment'}, but the archive reaches to ${viewEnd}`);
}

function mergeLandings(paused: Landing, promoted: Landing): Landing {
  return {
    ...promoted,
    summary: {
      ...promoted.summary,
      stop: promoted.summary.stop ?? paused.summary.stop,
      lastCompletedTransactionTime: promoted.summary.lastCompletedTransactionTime ?? paused.summary.lastCompletedTransactionTime,
    },
    lastSegmentRestored: promoted.lastSegmentRestored ?? paused.lastSegmentRestored,
    logLines: [...new Set([...paused.logLines, ...promoted.logLines])],
  };
}
