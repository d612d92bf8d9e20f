/** What can be restored from an archive: from which instant to which, from which base backups, with which holes. JSON-safe. */
import type { BaseBackup } from './base-backup.ts';
import { type Instant, instantOfMicroseconds, microsecondsOf, parseInstant } from './instant.ts';
import { commitStampMarginMs } from './recovery-target.ts';
import type { BackupReach, WalHole, WalIntegrity } from './wal-integrity.ts';
import { parseWalSegmentName, type TimelineId, walSegmentName, type WalSegmentName } from './wal-segment.ts';

/** From when to when a base backup can bring the cluster back. */
export interface BackupWindow {
  readonly backup: string;
  readonly isUsable: boolean;
  readonly deltaFrom: string | undefined;
  readonly isPermanent: boolean;
  /** It became consistent then: the first instant is just after. By the source's clock. */
  readonly from: Instant;
  readonly fromLsn: string;
  /** Its WAL without a hole ends there. */
  readonly toSegment: WalSegmentName | undefined;
  readonly toLsn: string | undefined;
  readonly timeline: TimelineId;
  /** When the source closed that segment, by its own clock; undefined for WAL that another tool archived. */
  readonly toClosedAt: Instant | undefined;
}

/** A hole, with the instants around it where they are known. */
export interface WindowHole extends WalHole {
  /** How many backups need it; `backups` names the newest of them. */
  readonly backupCount: number;
  /** When the segment before it was closed. */
  readonly after: Instant | undefined;
  /** When the segment behind it was closed. */
  readonly before: Instant | undefined;
}

/** The last commit that was found in the WAL's own records. */
export interface LastCommit {
  readonly time: Instant;
  readonly segment: WalSegmentName;
}

export interface ArchiveWindow {
  readonly cluster: string;
  /** The first restorable instant is just after it: the finish of the oldest usable base backup. Null when there is none. */
  readonly earliest: { readonly instant: Instant; readonly backup: string } | null;
  /** How far the newest WAL without a hole reaches; null when there is no usable base backup. */
  readonly latest: {
    /**
     * Every commit up to here is proven to be archived: a second before the source closed the segment, because a commit's time is read
     * before its record is written. Null for WAL that another tool archived: then only the position is known.
     */
    readonly instant: Instant | null;
    readonly segment: WalSegmentName;
    /** End of the segment; of one that is not whole, end of its last record. */
    readonly lsn: string;
    readonly timeline: TimelineId;
    readonly backup: string;
    /** The archive holds the segment as NAME.partial. Absent: it is whole. */
    readonly isPartial?: true;
  } | null;
  /** Null when the last segments hold no commit, or cannot be read. */
  readonly lastCommit: LastCommit | null;
  readonly holes: readonly WindowHole[];
  /** The newest last. */
  readonly backups: readonly BackupWindow[];
  /** Of holes and backups, when there are more than the answer holds. */
  readonly leftOut: { readonly holes: number; readonly backups: number };
}

/** The unfinished segment behind the newest WAL, of a source that is gone. */
export interface WindowPartial {
  readonly segment: WalSegmentName;
  /** End of its last record. */
  readonly lsn: string;
  readonly lastCommit: Instant | undefined;
}

/** What the window is made of. */
export interface WindowFacts {
  readonly cluster: string;
  /** By finish position. */
  readonly backups: readonly BaseBackup[];
  readonly integrity: WalIntegrity;
  /** When segments were closed, as far as it was asked: of segmentsToAsk. */
  readonly closedAt: ReadonlyMap<string, Instant>;
  readonly lastCommit: LastCommit | undefined;
  /** Of partialBehind. */
  readonly partial?: WindowPartial | undefined;
}

/** How long the lists of an answer may be. */
export interface WindowLimits {
  readonly backups: number;
  readonly holes: number;
  /** Names at each hole. */
  readonly backupsOfHole: number;
}

/** What an answer of Temporal holds (64 KiB, design.md section 2). */
export const windowLimitsOfAnswer: WindowLimits = { backups: 60, holes: 60, backupsOfHole: 3 };

/** Puts the window together; of longer lists the newest are kept. */
export function archiveWindow(facts: WindowFacts, limits: WindowLimits): ArchiveWindow {
  const { cluster, backups, integrity, closedAt, lastCommit } = facts;
  const holes = integrity.timelines.flatMap((timeline) => timeline.holes);
  const reaches = new Map(integrity.backups.map((reach) => [reach.backup, reach]));
  const windows = backups.flatMap((backup) => {
    const reach = reaches.get(backup.name);
    return reach === undefined ? [] : [backupWindow(backup, reach, closedAt)];
  });
  const usable = windows.filter(({ isUsable }) => isUsable);
  return {
    cluster,
    earliest: earliestOf(usable),
    latest: latestWith(latestOf(usable), facts.partial),
    lastCommit: lastCommit ?? null,
    holes: holes.slice(-limits.holes).map((hole) => ({
      ...hole,
      ...instantsAround(hole, facts),
      backups: hole.backups.slice(-limits.backupsOfHole),
      backupCount: hole.backups.length,
    })),
    backups: windows.slice(-limits.backups),
    leftOut: { holes: Math.max(0, holes.length - limits.holes), backups: Math.max(0, windows.length - limits.backups) },
  };
}

/** The segments whose closing times the window tells: the ends of backups' reaches, and the edges of holes. */
export function segmentsToAsk(integrity: WalIntegrity): ReadonlySet<WalSegmentName> {
  const ends = integrity.backups.flatMap(({ lastSegment }) => (lastSegment === undefined ? [] : [lastSegment]));
  const edges = integrity.timelines.flatMap(({ held, holes }) => holes.flatMap((hole) => edgesOf(hole, held)));
  return new Set([...ends, ...edges.filter((edge) => edge !== undefined)]);
}

/** The unfinished segment that a restore to the latest ends in, by name, when the archive holds one. */
export function partialBehind(
  integrity: WalIntegrity,
  wal: { readonly partials?: ReadonlySet<string>; readonly segmentBytes: number },
): WalSegmentName | undefined {
  const newest = integrity.backups.findLast(({ isUsable }) => isUsable);
  if (newest?.lastSegment === undefined || newest.missing.length > 0) return undefined;
  const { number } = parseWalSegmentName(newest.lastSegment, wal.segmentBytes);
  const next = walSegmentName({ timeline: newest.timeline, number: number + 1n }, wal.segmentBytes);
  return wal.partials?.has(next) === true ? next : undefined;
}

function backupWindow(backup: BaseBackup, reach: BackupReach, closedAt: ReadonlyMap<string, Instant>): BackupWindow {
  return {
    backup: backup.name,
    isUsable: reach.isUsable,
    deltaFrom: backup.deltaFrom,
    isPermanent: backup.isPermanent,
    from: parseInstant(backup.finishTime),
    fromLsn: backup.finishLsn ?? backup.startLsn,
    toSegment: reach.lastSegment,
    toLsn: reach.endLsn,
    timeline: reach.timeline,
    toClosedAt: reach.lastSegment === undefined ? undefined : closedAt.get(reach.lastSegment),
  };
}

function earliestOf(usable: readonly BackupWindow[]): ArchiveWindow['earliest'] {
  const first = usable.toSorted((a, b) => (a.from < b.from ? -1 : 1))[0];
  return first === undefined ? null : { instant: first.from, backup: first.backup };
}

/** Of the newest usable backup: a plan for "latest" takes it. */
function latestOf(usable: readonly BackupWindow[]): ArchiveWindow['latest'] {
  const newest = usable.at(-1);
  if (newest?.toSegment === undefined || newest.toLsn === undefined) return null;
  const { toClosedAt, toSegment, toLsn, timeline, backup } = newest;
  return {
    instant: toClosedAt === undefined ? null : beforeMargin(toClosedAt),
    segment: toSegment,
    lsn: toLsn,
    timeline,
    backup,
  };
}

/** A commit's time is read before its record is written, so one of a second before the last commit has its record before that one's. */
function latestWith(latest: ArchiveWindow['latest'], partial: WindowPartial | undefined): ArchiveWindow['latest'] {
  if (latest === null || partial === undefined) return latest;
  const { segment, lsn, lastCommit } = partial;
  const proven = lastCommit === undefined ? undefined : beforeMargin(lastCommit);
  const instant = proven !== undefined && (latest.instant === null || proven > latest.instant) ? proven : latest.instant;
  return { ...latest, instant, segment, lsn, isPartial: true };
}

function beforeMargin(instant: Instant): Instant {
  return instantOfMicroseconds(microsecondsOf(instant) - BigInt(commitStampMarginMs) * 1000n);
}

function instantsAround(hole: WalHole, { integrity, closedAt }: WindowFacts): Pick<WindowHole, 'after' | 'before'> {
  const held = integrity.timelines.find(({ timeline }) => timeline === hole.timeline)?.held ?? [];
  const [preceding, following] = edgesOf(hole, held);
  const at = (segment: string | undefined) => (segment === undefined ? undefined : closedAt.get(segment));
  return { after: at(preceding), before: at(following) };
}

/** The archived segments next to the hole. */
function edgesOf(
  hole: WalHole,
  held: WalIntegrity['timelines'][number]['held'],
): readonly [WalSegmentName | undefined, WalSegmentName | undefined] {
  return [held.findLast(({ last }) => last < hole.first)?.last, held.find(({ first }) => first > hole.last)?.first];
}
