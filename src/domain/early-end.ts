/**
 * Recovery that ended before its target: PostgreSQL found no commit after the target, because none was archived. Whether the end of the WAL
 * is the state at the target has to be proven, never guessed (design.md, section 4, rule 5; postgres-recovery.md, section 2.1).
 */
import { formatInstant, type Instant, microsecondsOf, parseInstant } from './instant.ts';
import { lastSegmentOf, type WalView } from './recovery-plan.ts';
import { commitStampMarginMs, type RecoveryTarget } from './recovery-target.ts';
import type { TimelineId, WalSegmentName } from './wal-segment.ts';

/** What to do when recovery ends early. */
export type EarlyEndPolicy = 'promote-if-complete' | 'fail';

/** The source closed its WAL at an instant of its own clock, and everything before is archived. */
export interface SourceProof {
  readonly how: 'flushed' | 'stopped';
  /** By the source's clock, read before the WAL was closed. */
  readonly at: Instant;
  /** End of the closed WAL. */
  readonly lsn: string;
  readonly timeline: TimelineId;
  /** The segment that holds the last byte before `lsn`. */
  readonly segment: WalSegmentName;
}

/** `complete` means: no commit up to the target lies outside what was replayed. */
export type EarlyEndVerdict = { readonly kind: 'complete'; readonly proof: string } | { readonly kind: 'unknown'; readonly reason: string };

/** What is known when recovery has ended early. */
export interface EarlyEndFacts {
  readonly target: RecoveryTarget;
  readonly view: WalView;
  readonly sourceProof: SourceProof | undefined;
  /** The last segment that PostgreSQL asked for and got. */
  readonly lastSegmentRestored: WalSegmentName | undefined;
}

/** Decides whether the end of the WAL is proven to be the state at the target. */
export function classifyEarlyEnd(facts: EarlyEndFacts): EarlyEndVerdict {
  const { target, view, sourceProof, lastSegmentRestored } = facts;
  if (target.kind !== 'time') return { kind: 'unknown', reason: 'only a target in time can lie behind the last commit' };
  const viewEnd = lastSegmentOf(view);
  if (viewEnd === undefined || lastSegmentRestored === undefined || lastSegmentRestored !== viewEnd) {
    return {
      kind: 'unknown',
      reason: `replay got as far as ${lastSegmentRestored ?? 'no segment'}, but the archive reaches to ${viewEnd ?? 'nothing'}`,
    };
  }
  if (sourceProof === undefined) return { kind: 'unknown', reason: 'the source could not be asked to close its WAL' };
  const marginMicroseconds = BigInt(commitStampMarginMs) * 1000n;
  if (microsecondsOf(sourceProof.at) < microsecondsOf(target.time) + marginMicroseconds) {
    return { kind: 'unknown', reason: `the source closed its WAL at ${formatInstant(sourceProof.at)}, which is not after the target` };
  }
  // A source that was left behind on an older timeline knows nothing of the commits of the newer one.
  const last = view.segments.at(-1);
  if (last?.timeline !== sourceProof.timeline || last.last < sourceProof.segment) {
    return { kind: 'unknown', reason: `the source closed its WAL in ${sourceProof.segment}, which is not part of this restore` };
  }
  return {
    kind: 'complete',
    proof: `The source ${sourceProof.how === 'flushed' ? 'closed its WAL' : 'was stopped'} at ${formatInstant(sourceProof.at)} by its own clock, after the target, and all of it up to ${sourceProof.lsn} (${sourceProof.segment}) was archived and replayed.`,
  };
}

/** Is the landing right: nothing committed after the target was kept? */
export function landedRight(target: RecoveryTarget, lastCommitKept: string | undefined): boolean {
  if (target.kind !== 'time' || lastCommitKept === undefined) return true;
  return microsecondsOf(parseInstant(lastCommitKept)) <= microsecondsOf(target.time);
}
