/**
 * Recovery that ended before its target: PostgreSQL found no commit after the target, because none was archived. Whether the end of the WAL
 * is the state at the target has to be proven, never guessed (design.md, section 4, rule 5; postgres-recovery.md, section 2.1).
 */
import { formatInstant, type Instant, microsecondsOf } from './instant.ts';
import { lastSegmentOf, lastWholeSegmentOf, type WalView } from './recovery-plan.ts';
import { commitStampMarginMs, type RecoveryTarget } from './recovery-target.ts';
import { type TimelineId, timelineOf, type WalSegmentName } from './wal-segment.ts';

/**
 * What to do when recovery ends early. `promote-if-complete`: promote when the end is proven to be the state at the target, else fail;
 * `promote`: promote in any case, and say what is not proven; `fail`; `ask`: wait for a person's decision, with the facts.
 */
export const earlyEndPolicies = ['promote-if-complete', 'promote', 'fail', 'ask'] as const;
export type EarlyEndPolicy = (typeof earlyEndPolicies)[number];

/** What was brought into the archive out of the data directory of a dead source. */
export interface SalvageReport {
  /** Whole segments that the archive did not hold before. */
  readonly segments: number;
  /** The segment in which the WAL ends, in the archive as NAME.partial; null when it ends with a segment. */
  readonly partial: WalSegmentName | null;
  /** The last commit in the WAL that was read; null when it holds none since the last checkpoint or the first segment that was not archived. */
  readonly lastCommit: { readonly time: Instant; readonly xid: string | null } | null;
}

/** The source closed its WAL at an instant of its own clock, or was dead by then, and everything before is archived. */
export interface SourceProof {
  readonly how: 'flushed' | 'stopped' | 'salvaged';
  /** By the clock of the source or of its host, read before the WAL was closed or read. */
  readonly at: Instant;
  /** End of the closed WAL. */
  readonly lsn: string;
  readonly timeline: TimelineId;
  /** The segment that holds the last byte before `lsn`. */
  readonly segment: WalSegmentName;
  /** Of a dead source. */
  readonly salvage?: SalvageReport;
}

/**
 * `complete`: no commit up to the target lies outside what was replayed. `missing`: WAL that exists was not replayed. `unknown`: nothing is
 * proven either way.
 */
export type EarlyEndVerdict =
  | { readonly kind: 'complete'; readonly proof: string }
  | { readonly kind: 'missing' | 'unknown'; readonly reason: string };

/** A record that carries an instant of the source's clock and that recovery to a time passes over. */
export interface DatedRecord {
  readonly kind: 'checkpoint' | 'shutdown' | 'end-of-recovery' | 'restore-point';
  readonly lsn: string;
  readonly time: Instant;
}

/** What is known when recovery has ended early. */
export interface EarlyEndFacts {
  readonly target: RecoveryTarget;
  readonly view: WalView;
  readonly sourceProof: SourceProof | undefined;
  /** When the view's last whole segment was closed by the source's clock, where the archive knows it. */
  readonly viewClosedAt?: Instant | undefined;
  /** A record of the view's last timeline that was replayed and is dated provably after the target (`isProvablyAfter`). */
  readonly laterRecord?: DatedRecord | undefined;
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
  const byArchive = verdictByLastSegment(target.time, lastWholeSegmentOf(view), facts.viewClosedAt);
  return byArchive ?? verdictByRecord(target.time, facts.laterRecord) ?? bySource ?? notAsked;
}

const deeds: Readonly<Record<SourceProof['how'], string>> = {
  flushed: 'closed its WAL',
  stopped: 'was stopped',
  salvaged: 'was found dead',
};

const notAsked: EarlyEndVerdict = { kind: 'unknown', reason: 'the source could not be asked to close its WAL' };

function verdictBySource(target: Instant, view: WalView, source: SourceProof): EarlyEndVerdict {
  if (!isProvablyAfter(source.at, target))
    return { kind: 'unknown', reason: `the source closed its WAL at ${formatInstant(source.at)}, which is not after the target` };
  // A source that was left behind on an older timeline knows nothing of the commits of the newer one.
  const last = lastSegmentOf(view);
  const isSameTimeline = last !== undefined && timelineOf(last) === source.timeline;
  if (!isSameTimeline || last < source.segment) {
    const kind = isSameTimeline ? 'missing' : 'unknown';
    return { kind, reason: `the source closed its WAL in ${source.segment}, which is not part of this restore` };
  }
  const deed = deeds[source.how];
  return {
    kind: 'complete',
    proof: `The source ${deed} at ${formatInstant(source.at)} by its own clock, after the target, and all of it up to ${source.lsn} (${source.segment}) was archived and replayed.`,
  };
}

/** A commit up to the target was written before this segment was closed, so it lies in it or before it; and all of that was replayed. */
function verdictByLastSegment(
  target: Instant,
  closed: WalSegmentName | undefined,
  closedAt: Instant | undefined,
): EarlyEndVerdict | undefined {
  if (closed === undefined || closedAt === undefined || !isProvablyAfter(closedAt, target)) return undefined;
  return {
    kind: 'complete',
    proof: `The last archived segment, ${closed}, was closed at ${formatInstant(closedAt)} by the source's clock, after the target, and all WAL up to its end was replayed.`,
  };
}

const recordNames: Readonly<Record<DatedRecord['kind'], string>> = {
  checkpoint: 'checkpoint',
  shutdown: 'shutdown checkpoint',
  'end-of-recovery': 'end of recovery',
  'restore-point': 'restore point',
};

/** Who wrote the record had passed the target, and every commit up to it lies before the record or was about to be written. */
function verdictByRecord(target: Instant, record: DatedRecord | undefined): EarlyEndVerdict | undefined {
  if (record === undefined || !isProvablyAfter(record.time, target)) return undefined;
  return { kind: 'complete', proof: `${describeLaterRecord(record)}, and all WAL up to it and behind it was replayed.` };
}

/** Says what is proven by a record that is dated after the target, without a full stop. */
export function describeLaterRecord(record: DatedRecord): string {
  return `The ${recordNames[record.kind]} at ${record.lsn} is dated ${formatInstant(record.time)} by the source's clock, after the target`;
}

/** After the target by so much that no commit stamped up to it can be missing. */
export function isProvablyAfter(time: Instant, target: Instant): boolean {
  return microsecondsOf(time) >= microsecondsOf(target) + BigInt(commitStampMarginMs) * 1000n;
}

/** Only the end of time can be proven by silence; the others name a record that must be met. */
function whyNotMet(target: RecoveryTarget): string {
  if (target.kind === 'lsn') return `the archived WAL ends before ${target.lsn}`;
  if (target.kind === 'xid') return `transaction ${target.xid} neither commits nor aborts in the archived WAL after the base backup`;
  if (target.kind === 'name') return `the archived WAL after the base backup holds no restore point "${target.name}"`;
  return 'only a target in time can lie behind the last commit';
}
