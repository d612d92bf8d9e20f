/** What the end of recovery means for the landing report, once it is checked to be the landing that was asked for. */
import type { Landing } from '../activities/types.ts';
import type { EarlyEndVerdict } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import { whyCommitLost, whyCommitTooLate, whyLandedWrong } from '../domain/landing-proof.ts';
import type { CommitFact, LandingReport } from '../domain/landing-report.ts';
import type { RecoveryStop } from '../domain/recovery-events.ts';
import { lastSegmentOf } from '../domain/recovery-plan.ts';
import { describeTarget } from '../domain/recovery-target.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { Goal } from './recover-to-target.ts';

/** The recovered part of the landing report. */
export type Recovered = Pick<
  LandingReport,
  | 'requestedTarget'
  | 'endReason'
  | 'lastCommitKept'
  | 'firstCommitLeftOut'
  | 'stop'
  | 'endLsn'
  | 'timeline'
  | 'earlyEndProof'
  | 'earlyEndDoubt'
  | 'sourceFlushed'
  | 'salvage'
  | 'segmentsReplayed'
  | 'postgresLog'
>;

/** Recovery that ended before its target, and what that proves. */
export interface EarlyEnd {
  readonly verdict: EarlyEndVerdict;
  readonly landing: Landing;
}

/** Describes the landing. @throws WalkbackError LANDED_WRONG */
export function landed(request: CompleteRestoreRequest, goal: Goal, landing: Landing, earlyEnd: EarlyEnd | undefined): Recovered {
  const { stop, lastCompletedTransactionTime, endLsn } = landing.summary;
  const lastCommitTime = lastCompletedTransactionTime ?? earlyEnd?.landing.summary.lastCompletedTransactionTime;
  assertLandedRight(goal, landing, { lastCommitTime, dropped: earlyEnd !== undefined });
  return {
    requestedTarget: goal.job.target,
    endReason: endReasonOf(goal, earlyEnd),
    lastCommitKept: lastKept(stop, lastCommitTime),
    firstCommitLeftOut: firstLeftOut(stop),
    stop: earlyEnd === undefined ? (stop ?? null) : null,
    endLsn: endLsn ?? null,
    timeline: landing.timeline,
    earlyEndProof: earlyEnd?.verdict.kind === 'complete' ? earlyEnd.verdict.proof : null,
    earlyEndDoubt: earlyEnd === undefined || earlyEnd.verdict.kind === 'complete' ? null : doubtOf(earlyEnd.verdict.reason, request),
    sourceFlushed: goal.sourceProof !== undefined,
    ...(goal.sourceProof?.salvage === undefined ? {} : { salvage: goal.sourceProof.salvage }),
    segmentsReplayed: Math.max(landing.summary.segmentsRestored, earlyEnd?.landing.summary.segmentsRestored ?? 0),
    postgresLog: [...(earlyEnd?.landing.logLines ?? []), ...landing.logLines],
  };
}

/** A landing that was paused at its target and then promoted. */
export function mergeLandings(paused: Landing, promoted: Landing): Landing {
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

function endReasonOf({ job }: Goal, earlyEnd: EarlyEnd | undefined): Recovered['endReason'] {
  if (earlyEnd !== undefined) return earlyEnd.verdict.kind === 'complete' ? 'ended-early-proven-complete' : 'ended-early-not-proven';
  return job.target.kind === 'latest' ? 'end-of-wal' : 'target-reached';
}

/** PostgreSQL names the transaction only when it stopped right after it. */
function lastKept(stop: RecoveryStop | undefined, time: string | undefined): CommitFact | null {
  if (time === undefined) return null;
  return { time, xid: stop?.kind === 'after' && stop.record === 'commit' ? stop.xid : null };
}

/** PostgreSQL may also stop before a transaction that was rolled back: the commit behind it is looked for in the WAL. */
function firstLeftOut(stop: RecoveryStop | undefined): CommitFact | null {
  if (stop?.kind !== 'before' || stop.record !== 'commit' || stop.time === undefined) return null;
  return { time: stop.time, xid: stop.xid };
}

function doubtOf(reason: string, request: CompleteRestoreRequest): string {
  return `${reason}; taken because ${request.onEarlyEnd === 'promote' ? 'the request says to promote then' : 'it was decided to'}`;
}

function assertLandedRight(
  { job, sourceProof }: Goal,
  landing: Landing,
  facts: { readonly lastCommitTime: string | undefined; readonly dropped: boolean },
): void {
  const wrong = (why: string) => new WalkbackError('LANDED_WRONG', `Recovery to ${describeTarget(job.target)} did not land right: ${why}.`);
  const why = facts.dropped
    ? whyCommitTooLate(job.target, facts.lastCommitTime)
    : whyLandedWrong(job.target, { stop: landing.summary.stop, lastCommitKept: facts.lastCommitTime });
  if (why !== undefined) throw wrong(why);
  if (landing.timeline <= job.plan.timeline) throw wrong(`the server is on timeline ${landing.timeline}, which is not a new one`);
  const viewEnd = lastSegmentOf(job.plan.view);
  const toTheEnd = job.target.kind === 'latest' || facts.dropped;
  if (toTheEnd && viewEnd !== landing.lastSegmentRestored)
    throw wrong(`replay ended after ${landing.lastSegmentRestored ?? 'no segment'}, but the archive reaches to ${viewEnd}`);
  const salvaged = job.target.kind === 'latest' ? sourceProof?.salvage?.lastCommit : undefined;
  const lost = whyCommitLost(salvaged?.time, { lastCommitKept: facts.lastCommitTime, backupFinish: job.plan.backup.finishTime });
  if (lost !== undefined) throw wrong(lost);
}
