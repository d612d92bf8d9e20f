/**
 * Recovery that ended before its target: PostgreSQL found no commit after the target, because none was archived. Whether the end of the WAL
 * is the state at the target has to be proven, never guessed (design.md, section 4, rule 5; postgres-recovery.md, section 2.1).
 */
import { formatInstant, type Instant, microsecondsOf } from './instant.ts';
import { lastSegmentOf, type WalView } from './recovery-plan.ts';
import { commitStampMarginMs, type RecoveryTarget } from './recovery-target.ts';
import type { TimelineId, WalSegmentName } from './wal-segment.ts';

/**
 * What to do when recovery ends early. `promote-if-complete`: promote when the end is proven to be the state at the target, else fail;
 * `promote`: promote in any case, and say what is not proven; `fail`; `ask`: wait for a person's decision, with the facts.
 */
export const earlyEndPolicies = ['promote-if-complete', 'promote', 'fail', 'ask'] as const;
export type EarlyEndPolicy = (typeof earlyEndPolicies)[number];

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

/**
 * `complete`: no commit up to the target lies outside what was replayed. `missing`: WAL that exists was not replayed. `unknown`: nothing is
 * proven either way.
 */
export type EarlyEndVerdict =
  | { readonly kind: 'complete'; readonly proof: string }
  | { readonly kind: 'missing' | 'unknown'; readonly reason: string };

/** What is known when recovery has ended early. */
export interface EarlyEndFacts {
  readonly target: RecoveryTarget;
  readonly view: WalView;
  readonly sourceProof: SourceProof | undefined;
  /** When the view's last segment was closed by the source's clock, where the archive knows it. */
  readonly viewClosedAt?: Instant | undefined;
  /** The last segment that PostgreSQL asked for and got. */
  readonly lastSegmentRestored: WalSegmentName | undefined;
}

/** Decides whether the end of the WAL is proven to be the state at the target. */
export function classifyEarlyEnd(facts: EarlyEndFacts): EarlyEndVerdict {
  const { target, view, sourceProof, lastSegmentRestored } = facts;
  if (target.kind !== 'time') return { kind: 'unknown', reason: whyNotMet(target) };
  const viewEnd = lastSegmentOf(view);
  if (viewEnd === undefined || lastSegmentRestored === undefined || lastSegmentRestored !== viewEnd) {
    return {
      kind: 'missing',
      reason: `replay got as far as ${lastSegmentRestored ?? 'no segment'}, but the archive reaches to ${viewEnd ?? 'nothing'}`,
    };
  }
  const bySource = sourceProof === undefined ? undefined : verdictBySource(target.time, view, sourceProof);
  if (bySource?.kind === 'complete' || bySource?.kind === 'missing') return bySource;
  return verdictByLastSegment(target.time, viewEnd, facts.viewClosedAt) ?? bySource ?? notAsked;
}

const notAsked: EarlyEndVerdict = { kind: 'unknown', reason: 'the source could not be asked to close its WAL' };

function verdictBySource(target: Instant, view: WalView, source: SourceProof): EarlyEndVerdict {
  if (!isPast(source.at, target))
    return { kind: 'unknown', reason: `the source closed its WAL at ${formatInstant(source.at)}, which is not after the target` };
  // A source that was left behind on an older timeline knows nothing of the commits of the newer one.
  const last = view.segments.at(-1);
  if (last?.timeline !== source.timeline || last.last < source.segment) {
    const kind = last?.timeline === source.timeline ? 'missing' : 'unknown';
    return { kind, reason: `the source closed its WAL in ${source.segment}, which is not part of this restore` };
  }
  const deed = source.how === 'flushed' ? 'closed its WAL' : 'was stopped';
  return {
    kind: 'complete',
    proof: `The source ${deed} at ${formatInstant(source.at)} by its own clock, after the target, and all of it up to ${source.lsn} (${source.segment}) was archived and replayed.`,
  };
}

/** A commit up to the target was written before this segment was closed, so it lies in it or before it; and all of that was replayed. */
function verdictByLastSegment(target: Instant, viewEnd: WalSegmentName, closedAt: Instant | undefined): EarlyEndVerdict | undefined {
  if (closedAt === undefined || !isPast(closedAt, target)) return undefined;
  return {
    kind: 'complete',
    proof: `The last archived segment, ${viewEnd}, was closed at ${formatInstant(closedAt)} by the source's clock, after the target, and all WAL up to its end was replayed.`,
  };
}

/** Past the target by so much that no commit stamped up to it can be missing. */
function isPast(time: Instant, target: Instant): boolean {
  return microsecondsOf(time) >= microsecondsOf(target) + BigInt(commitStampMarginMs) * 1000n;
}

/** Only the end of time can be proven by silence; the others name a record that must be met. */
function whyNotMet(target: RecoveryTarget): string {
  if (target.kind === 'lsn') return `the archived WAL ends before ${target.lsn}`;
  if (target.kind === 'xid') return `transaction ${target.xid} neither commits nor aborts in the archived WAL after the base backup`;
  if (target.kind === 'name') return `the archived WAL after the base backup holds no restore point "${target.name}"`;
  return 'only a target in time can lie behind the last commit';
}
