/** Is a landing right? PostgreSQL's success proves nothing by itself: the log must say that it stopped where it was asked to (design.md, section 4, rule 6). */
import { formatInstant, type Instant, microsecondsOf, parseInstant } from './instant.ts';
import { parseLsn } from './lsn.ts';
import type { RecoveryStop } from './recovery-events.ts';
import { type RecoveryTarget, xidWithinEpoch } from './recovery-target.ts';

/** What is known of where replay stopped. */
export interface LandingFacts {
  /** As the log tells it; undefined when it named no place. */
  readonly stop: RecoveryStop | undefined;
  /** Time of the last commit or abort that was replayed. */
  readonly lastCommitKept: string | undefined;
}

/** Why the landing is not the one asked for; undefined when it is. Says nothing of a target that was dropped. */
export function whyLandedWrong(target: RecoveryTarget, facts: LandingFacts): string | undefined {
  const late = whyCommitTooLate(target, facts.lastCommitKept);
  if (late !== undefined || target.kind === 'latest') return late;
  const { stop } = facts;
  if (stop === undefined) return 'the log names no place at which replay stopped';
  return isStopAt(target, stop) ? undefined : `replay stopped ${describeStop(stop)}`;
}

/** Why a commit that was kept does not belong to the state at the target; undefined when all do. */
export function whyCommitTooLate(target: RecoveryTarget, lastCommitKept: string | undefined): string | undefined {
  if (target.kind !== 'time' || lastCommitKept === undefined) return undefined;
  const [kept, asked] = [microsecondsOf(parseInstant(lastCommitKept)), microsecondsOf(target.time)];
  const isRight = target.inclusive === false ? kept < asked : kept <= asked;
  return isRight ? undefined : `a commit of ${lastCommitKept} was kept`;
}

/** Why a commit that lies in the WAL is not in what was replayed; undefined when it is, or lies in the base backup. */
export function whyCommitLost(
  commit: Instant | undefined,
  facts: { readonly lastCommitKept: string | undefined; readonly backupFinish: string },
): string | undefined {
  if (commit === undefined) return undefined;
  const at = microsecondsOf(commit);
  if (at <= microsecondsOf(parseInstant(facts.backupFinish))) return undefined;
  if (facts.lastCommitKept !== undefined && microsecondsOf(parseInstant(facts.lastCommitKept)) >= at) return undefined;
  return `the commit of ${formatInstant(commit)} was salvaged and not replayed`;
}

/** For people: `before the commit of transaction 734`. */
export function describeStop(stop: RecoveryStop): string {
  switch (stop.kind) {
    case 'before':
    case 'after':
      return `${stop.kind} the ${stop.record} of transaction ${stop.xid}${timeOf(stop.time)}`;
    case 'before-lsn':
      return `before position ${stop.lsn}`;
    case 'after-lsn':
      return `after position ${stop.lsn}`;
    case 'restore-point':
      return `at the restore point "${stop.name}"${timeOf(stop.time)}`;
    case 'consistency':
      return 'when the base backup was consistent';
  }
}

function isStopAt(target: RecoveryTarget, stop: RecoveryStop): boolean {
  switch (target.kind) {
    case 'time':
      return stop.kind === 'before' || stop.kind === 'after';
    case 'xid':
      return (stop.kind === 'before' || stop.kind === 'after') && stop.xid === xidWithinEpoch(target.xid);
    case 'lsn':
      // The record that starts at the position or, when none does, the first one after it.
      return (stop.kind === 'before-lsn' || stop.kind === 'after-lsn') && parseLsn(stop.lsn) >= parseLsn(target.lsn);
    case 'name':
      return stop.kind === 'restore-point' && stop.name === target.name;
    case 'immediate':
      return stop.kind === 'consistency';
    case 'latest':
      return true;
  }
}

function timeOf(time: Instant | undefined): string {
  return time === undefined ? '' : ` at ${formatInstant(time)}`;
}

/** Where a paused restore stands. */
export interface PausedAt extends LandingFacts {
  readonly target: RecoveryTarget;
}

/**
 * Why a target is not later than where a paused restore stands; undefined when it is, or when only replay can tell. PostgreSQL itself refuses to
 * go back (postgres-recovery.md, M13).
 */
export function whyNotLater(next: RecoveryTarget, { target, lastCommitKept }: PausedAt): string | undefined {
  if (next.kind === 'immediate') return 'the end of the base backup lies behind it';
  if (next.kind === 'time' && target.kind === 'time')
    return microsecondsOf(next.time) > microsecondsOf(target.time) ? undefined : `it is paused at ${target.time} already`;
  if (next.kind === 'lsn' && target.kind === 'lsn')
    return parseLsn(next.lsn) > parseLsn(target.lsn) ? undefined : `it is paused at ${target.lsn} already`;
  if (next.kind === 'time' && lastCommitKept !== undefined && microsecondsOf(next.time) < microsecondsOf(parseInstant(lastCommitKept)))
    return `it holds a commit of ${lastCommitKept} already`;
  return undefined;
}
