/**
 * What a restore will use, decided before a byte is fetched: the base backup, the way over the timelines, and every WAL file, proven by a
 * listing (design.md, section 4, rules 2 and 3). PostgreSQL itself replays from a backup that is too new without a word (measured: M4).
 */
import { type BaseBackup } from './base-backup.ts';
import { WalkbackError } from './errors.ts';
import { formatInstant, type Instant, microsecondsOf, parseInstant } from './instant.ts';
import type { DamagedBackup } from './landing-report.ts';
import { formatLsn, type Lsn, parseLsn } from './lsn.ts';
import { commitStampMarginMs, describeTarget, type RecoveryTarget, type TargetTimeline } from './recovery-target.ts';
import { liesOnPath, type TimelineStretch } from './timeline.ts';
import { timelineChoice, type TimelineChoice } from './timeline-choice.ts';
import {
  historyFileName,
  parseWalSegmentName,
  segmentNumberAt,
  segmentNumberBefore,
  segmentStart,
  type TimelineId,
  walSegmentName,
  type WalSegmentName,
} from './wal-segment.ts';

/** Whole segments of one timeline, first and last included. */
export interface WalRange {
  readonly timeline: TimelineId;
  readonly first: WalSegmentName;
  readonly last: WalSegmentName;
  readonly count: number;
}

/** The WAL that a restore may see, frozen: what is archived later does not exist for it. */
export interface WalView {
  readonly segments: readonly WalRange[];
  /** The segment behind those, in which the WAL ends: the archive holds it as NAME.partial. */
  readonly partial?: WalSegmentName | undefined;
  /** History files, `00000002.history`. */
  readonly histories: readonly string[];
}

/** What the archive holds of WAL. */
export interface WalHoldings {
  readonly segments: ReadonlySet<string>;
  /** Last segments of a timeline that are not whole, without their `.partial`. Default: none. */
  readonly partials?: ReadonlySet<string>;
  /** Content of the history files by timeline. */
  readonly histories: ReadonlyMap<TimelineId, string>;
  readonly segmentBytes: number;
}

/** A decided restore; JSON-safe and small. */
export interface RecoveryPlan {
  readonly backup: BaseBackup;
  /** Where the WAL of the plan ends. */
  readonly timeline: TimelineId;
  readonly view: WalView;
  readonly walSegmentBytes: number;
  /** When the view's last whole segment was closed by the source's clock; looked up for a target in time, and not known of every segment. */
  readonly viewClosedAt?: Instant | undefined;
  /** A hole behind the view, where the archive goes on after missing segments. */
  readonly holeAfterView: { readonly first: WalSegmentName; readonly last: WalSegmentName } | undefined;
  /** Newer backups that cannot be used, which the request allows to pass over. Absent: there are none. */
  readonly givenUp?: readonly DamagedBackup[];
}

/** Choices that bound a plan. */
export interface PlanOptions {
  readonly target: RecoveryTarget;
  readonly backups: readonly BaseBackup[];
  readonly wal: WalHoldings;
  /** When a segment was closed by the source's clock, where the archive knows it; asked only of the last one in reach. */
  readonly closedAt: (segment: WalSegmentName) => Promise<Instant | undefined>;
  /** Default latest. */
  readonly timeline?: TargetTimeline | undefined;
  /** Name of the only backup to restore from. Default: the newest that fits. */
  readonly backup?: string | undefined;
  /** Where the target's restore point lies, when the archive has a record of it. */
  readonly restorePointLsn?: string | undefined;
  /** A hole is no reason to refuse: what is missing is brought into the archive next. Default false. */
  readonly holeIsFilledLater?: boolean;
}

/**
 * Decides a restore.
 * @throws WalkbackError NO_BACKUP, NO_BACKUP_BEFORE_TARGET (with the first restorable instant or position), WAL_MISSING (with the exact
 * range), TARGET_UNREACHABLE for a timeline that the archive does not know
 */
export async function planRecovery(options: PlanOptions): Promise<RecoveryPlan> {
  const { wal } = options;
  const choice = timelineChoice(options.timeline ?? 'latest', { backups: options.backups, histories: wal.histories });
  const backup = chooseBackup(options, choice);
  const path = choice.pathOf(backup);
  const timeline = path.at(-1)?.timeline ?? backup.timeline;
  const { ranges, hole, partial } = contiguousWal(backup, path, wal);
  if (hole !== undefined && options.holeIsFilledLater !== true) await assertTargetBeforeHole(options, ranges, hole);
  // Siblings' history files too: PostgreSQL asks for one number after the other, and takes the first that is missing for the end.
  const histories = [...wal.histories.keys()].filter((id) => id <= timeline).map(historyFileName);
  const viewClosedAt = options.target.kind === 'time' ? await closedAtEnd(options, ranges) : undefined;
  const view = { segments: ranges, histories, ...(partial === undefined ? {} : { partial }) };
  return { backup, timeline, view, walSegmentBytes: wal.segmentBytes, viewClosedAt, holeAfterView: hole };
}

async function closedAtEnd({ closedAt }: PlanOptions, ranges: readonly WalRange[]): Promise<Instant | undefined> {
  const end = ranges.at(-1)?.last;
  return end === undefined ? undefined : await closedAt(end);
}

/** Is the segment in the view? */
export function viewHolds(view: WalView, segment: { readonly timeline: TimelineId; readonly name: string }): boolean {
  if (segment.name === view.partial) return true;
  return view.segments.some((range) => range.timeline === segment.timeline && range.first <= segment.name && segment.name <= range.last);
}

/** The last segment of a view, be it whole or not. */
export function lastSegmentOf(view: WalView): WalSegmentName | undefined {
  return view.partial ?? lastWholeSegmentOf(view);
}

/** The last segment of a view that is whole. */
export function lastWholeSegmentOf(view: WalView): WalSegmentName | undefined {
  return view.segments.at(-1)?.last;
}

/** How many segments a view has. */
export function segmentCountOf(view: WalView): number {
  return view.segments.reduce((count, range) => count + range.count, view.partial === undefined ? 0 : 1);
}

function isOnPath(backup: BaseBackup, path: readonly TimelineStretch[]): boolean {
  return liesOnPath(path, backup.timeline, finishOf(backup));
}

/** A backup counts only once the WAL through its end is archived (design.md, section 3). */
function isUsable(backup: BaseBackup, path: readonly TimelineStretch[], wal: WalHoldings): boolean {
  const finish = finishOf(backup);
  const { ranges } = contiguousWal(backup, path, wal);
  const reached = ranges.at(-1);
  return (
    reached !== undefined &&
    BigInt(`0x${reached.last.slice(8)}`) >= BigInt(`0x${nameAt(finish, reached.timeline, wal.segmentBytes).slice(8)}`)
  );
}

function chooseBackup(options: PlanOptions, choice: TimelineChoice): BaseBackup {
  const { target, wal } = options;
  // Walks over WAL, so it is asked for as few backups as can be.
  const usable = (backup: BaseBackup) => isOnPath(backup, choice.pathOf(backup)) && isUsable(backup, choice.pathOf(backup), wal);
  const byEnd = candidates(options).toSorted((a, b) => compare(finishOf(a), finishOf(b)));
  const newest = byEnd.filter((backup) => endsBefore(backup, options)).findLast(usable);
  if (newest !== undefined) return newest;
  const oldest = byEnd.find(usable);
  if (oldest === undefined) {
    throw new WalkbackError(
      'NO_BACKUP',
      `None of the ${byEnd.length} base backups in question is usable: WAL that they need is missing, or they lie on a timeline that was left.`,
      {
        facts: { backups: byEnd.slice(-10).map((backup) => backup.name) },
      },
    );
  }
  const first = parseInstant(oldest.finishTime);
  const firstLsn = formatLsn(finishOf(oldest));
  throw new WalkbackError(
    'NO_BACKUP_BEFORE_TARGET',
    `No base backup ended before ${describeTarget(target)}; the first restorable instant is just after ${formatInstant(first)}, the first position ${firstLsn}.`,
    {
      facts: { firstRestorableInstant: first, firstRestorableLsn: firstLsn, firstBackup: oldest.name },
    },
  );
}

function candidates({ backups, backup: wanted }: PlanOptions): readonly BaseBackup[] {
  if (backups.length === 0) throw new WalkbackError('NO_BACKUP', 'The archive holds no base backup.');
  const named = wanted === undefined ? backups : backups.filter((backup) => backup.name === wanted);
  if (named.length > 0) return named;
  throw new WalkbackError('NO_BACKUP', `The archive holds no base backup named ${wanted}.`, {
    facts: { backups: backups.slice(-10).map((backup) => backup.name) },
  });
}

/**
 * Did the backup end before the target? PostgreSQL checks that itself for a transaction and a restore point, whose record it meets
 * before it is consistent, and for a position; for a time it does not (postgres-recovery.md, M4).
 */
function endsBefore(backup: BaseBackup, { target, restorePointLsn }: PlanOptions): boolean {
  if (target.kind === 'time') return microsecondsOf(parseInstant(backup.finishTime)) < microsecondsOf(target.time);
  const position = target.kind === 'lsn' ? target.lsn : target.kind === 'name' ? restorePointLsn : undefined;
  return position === undefined || finishOf(backup) <= parseLsn(position);
}

function finishOf(backup: BaseBackup): Lsn {
  return parseLsn(backup.finishLsn ?? backup.startLsn);
}

interface Hole {
  readonly first: WalSegmentName;
  readonly last: WalSegmentName;
}

/** WAL from a backup's start along the path for as long as no segment is missing; and the hole, when the archive goes on behind it. */
function contiguousWal(
  backup: BaseBackup,
  path: readonly TimelineStretch[],
  wal: WalHoldings,
): { ranges: WalRange[]; hole: Hole | undefined; partial: WalSegmentName | undefined } {
  const ranges: WalRange[] = [];
  const fromIndex = path.findIndex((stretch) => stretch.timeline === backup.timeline);
  let next = segmentNumberAt(parseLsn(backup.startLsn), wal.segmentBytes);
  for (const stretch of path.slice(fromIndex)) {
    // The segment in which a timeline ends exists on the next one too, and PostgreSQL reads it there (XLogFileReadAnyTLI).
    const end = stretch.endLsn === undefined ? undefined : segmentNumberAt(stretch.endLsn, wal.segmentBytes);
    const first = next;
    next = firstMissing(stretch.timeline, { from: first, before: end }, wal);
    if (next > first) ranges.push(rangeOf(stretch.timeline, first, next - 1n, wal.segmentBytes));
    if (end === undefined || next < end) {
      const [hole, name] = [holeAt(stretch, next, wal), walSegmentName({ timeline: stretch.timeline, number: next }, wal.segmentBytes)];
      return { ranges, hole, partial: hole === undefined && wal.partials?.has(name) === true ? name : undefined };
    }
  }
  return { ranges, hole: undefined, partial: undefined };
}

function firstMissing(
  timeline: TimelineId,
  bounds: { readonly from: bigint; readonly before: bigint | undefined },
  wal: WalHoldings,
): bigint {
  let number = bounds.from;
  while (number !== bounds.before && wal.segments.has(walSegmentName({ timeline, number }, wal.segmentBytes))) number += 1n;
  return number;
}

/** Missing segments with archived ones of the same timeline behind them, or before the timeline's known end. */
function holeAt(stretch: TimelineStretch, missing: bigint, wal: WalHoldings): Hole | undefined {
  const name = (number: bigint) => walSegmentName({ timeline: stretch.timeline, number }, wal.segmentBytes);
  if (stretch.endLsn !== undefined) {
    const end = segmentNumberAt(stretch.endLsn, wal.segmentBytes);
    let last = missing;
    while (last + 1n < end && !wal.segments.has(name(last + 1n))) last += 1n;
    return { first: name(missing), last: name(last) };
  }
  const prefix = name(missing).slice(0, 8);
  let nextArchived: string | undefined;
  for (const segment of wal.segments) {
    if (segment.startsWith(prefix) && segment > name(missing) && (nextArchived === undefined || segment < nextArchived))
      nextArchived = segment;
  }
  return nextArchived === undefined
    ? undefined
    : { first: name(missing), last: precedingName(nextArchived as WalSegmentName, wal.segmentBytes) };
}

async function assertTargetBeforeHole(options: PlanOptions, ranges: readonly WalRange[], hole: Hole): Promise<void> {
  const closedAt = await closedAtEnd(options, ranges);
  const before = isBeforeHole(options, hole, closedAt);
  if (before) return;
  const range = hole.first === hole.last ? hole.first : `${hole.first} to ${hole.last}`;
  const latest = closedAt === undefined ? '' : ` The latest restorable instant before the hole is about ${formatInstant(closedAt)}.`;
  throw new WalkbackError(
    'WAL_MISSING',
    `The archive lacks the WAL ${range}, which a restore to ${describeTarget(options.target)} needs.${latest}`,
    {
      facts: { firstMissing: hole.first, lastMissing: hole.last, latestRestorableInstant: closedAt ?? null },
    },
  );
}

function isBeforeHole({ target, restorePointLsn, wal }: PlanOptions, hole: Hole, closedAt: Instant | undefined): boolean {
  const marginMicroseconds = BigInt(commitStampMarginMs) * 1000n;
  if (target.kind === 'time') return closedAt !== undefined && microsecondsOf(closedAt) > microsecondsOf(target.time) + marginMicroseconds;
  // The backup's own WAL is there, or it would not have been chosen.
  if (target.kind === 'immediate') return true;
  const position = target.kind === 'lsn' ? target.lsn : target.kind === 'name' ? restorePointLsn : undefined;
  const holeStart = segmentStart(parseWalSegmentName(hole.first, wal.segmentBytes).number, wal.segmentBytes);
  return position !== undefined && parseLsn(position) < holeStart;
}

function rangeOf(timeline: TimelineId, first: bigint, last: bigint, segmentBytes: number): WalRange {
  const name = (number: bigint) => walSegmentName({ timeline, number }, segmentBytes);
  return { timeline, first: name(first), last: name(last), count: Number(last - first) + 1 };
}

function nameAt(position: Lsn, timeline: TimelineId, segmentBytes: number): WalSegmentName {
  return walSegmentName({ timeline, number: segmentNumberBefore(position, segmentBytes) }, segmentBytes);
}

function precedingName(name: WalSegmentName, segmentBytes: number): WalSegmentName {
  const perId = 0x1_0000_0000n / BigInt(segmentBytes);
  const number = BigInt(`0x${name.slice(8, 16)}`) * perId + BigInt(`0x${name.slice(16)}`);
  return walSegmentName({ timeline: Number.parseInt(name.slice(0, 8), 16), number: number - 1n }, segmentBytes);
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
