/**
 * Which WAL each base backup needs, on which timelines, and what of it the archive lacks. Decided from listings alone: that a segment is what
 * it should be is a question to its bytes (archive/archive-verification.ts).
 */
import type { BaseBackup } from './base-backup.ts';
import { WalkbackError } from './errors.ts';
import { formatLsn, type Lsn, parseLsn } from './lsn.ts';
import type { WalHoldings, WalRange } from './recovery-plan.ts';
import { latestTimeline, liesOnPath, timelinePath, type TimelineStretch } from './timeline.ts';
import {
  historyFileName,
  isWalSegmentName,
  parseWalSegmentName,
  segmentNumberAt,
  segmentNumberBefore,
  segmentStart,
  type TimelineId,
  walSegmentName,
  type WalSegmentName,
} from './wal-segment.ts';

/** Missing segments, and the base backups whose way leads over them. */
export interface WalHole extends WalRange {
  readonly backups: readonly string[];
}

/** How far replay from a base backup gets. */
export interface BackupReach {
  readonly backup: string;
  /** Is every segment from its start to its finish archived? Without one of them it cannot become consistent. */
  readonly isUsable: boolean;
  /** The timeline on which its way ends. */
  readonly timeline: TimelineId;
  /** The last segment that follows its start without a hole; undefined when the first one is missing already. */
  readonly lastSegment: WalSegmentName | undefined;
  /** End of that segment. */
  readonly endLsn: string | undefined;
  /** What its way lacks, up to the newest segment of the archive. */
  readonly missing: readonly WalRange[];
}

/** One timeline of the archive. */
export interface TimelineWal {
  readonly timeline: TimelineId;
  /** Archived segments. */
  readonly held: readonly WalRange[];
  /** What base backups need of it, held or not. */
  readonly needed: readonly WalRange[];
  readonly holes: readonly WalHole[];
  /** The history file that a restore from an older timeline needs to find this one, when it is not archived or cannot be read. */
  readonly historyMissing: string | undefined;
}

export interface WalIntegrity {
  /** The newest timeline, to which recovery goes. */
  readonly currentTimeline: TimelineId;
  /** In the order in which the backups were given. */
  readonly backups: readonly BackupReach[];
  /** Ascending. */
  readonly timelines: readonly TimelineWal[];
}

/** Segments by number, first and last included. */
interface Numbers {
  readonly first: bigint;
  readonly last: bigint;
}

/** Segments of one timeline on the way of a backup: from `first`, before `end`. */
interface Stretch {
  readonly timeline: TimelineId;
  readonly first: bigint;
  readonly end: bigint;
}

type Held = ReadonlyMap<TimelineId, readonly Numbers[]>;

/** Walks the way of every backup over the timelines to the end of the archive. */
export function walIntegrity(backups: readonly BaseBackup[], wal: WalHoldings): WalIntegrity {
  const held = heldByTimeline(wal);
  const paths = new Paths(wal, backups);
  const ways = backups.map((backup) => ({ backup, way: wayOf(backup, { path: paths.of(backup), held, wal }) }));
  const timelineIds = new Set([...held.keys(), ...backups.map(({ timeline }) => timeline), ...paths.readable.keys()]);
  return {
    currentTimeline: paths.currentTimeline,
    backups: ways.map(({ backup, way }) => reachOf(backup, way, { held, wal })),
    timelines: [...timelineIds]
      .toSorted((a, b) => a - b)
      .map((timeline) => timelineWal(timeline, { ways, held, wal, historyMissing: paths.historyMissing(timeline) })),
  };
}

/** Is the segment on the way of a base backup? */
export function isNeeded(integrity: WalIntegrity, segment: string): boolean {
  const timeline = Number.parseInt(segment.slice(0, 8), 16);
  const needed = integrity.timelines.find((candidate) => candidate.timeline === timeline)?.needed ?? [];
  return needed.some(({ first, last }) => first <= segment && segment <= last);
}

/** The ways over the timelines, as far as history files can be read. */
class Paths {
  readonly readable = new Map<TimelineId, readonly TimelineStretch[]>();
  readonly currentTimeline: TimelineId;
  readonly #backups: readonly BaseBackup[];
  readonly #current: readonly TimelineStretch[];

  constructor(wal: WalHoldings, backups: readonly BaseBackup[]) {
    this.#backups = backups;
    for (const [timeline, text] of wal.histories) {
      try {
        this.readable.set(timeline, timelinePath(timeline, text));
      } catch (error) {
        // Its damage is found when the file itself is read; here it counts as missing.
        if (!(error instanceof WalkbackError)) throw error;
      }
    }
    this.currentTimeline = latestTimeline(Math.max(1, ...backups.map(({ timeline }) => timeline)), new Set(this.readable.keys()));
    this.#current = this.#path(this.currentTimeline);
  }

  /** The way that a backup is replayed on: to the newest timeline, or where it was left behind, to the newest that leads over it. */
  of(backup: BaseBackup): readonly TimelineStretch[] {
    const finish = finishOf(backup);
    const leadsOver = (path: readonly TimelineStretch[]) => liesOnPath(path, backup.timeline, finish);
    if (leadsOver(this.#current)) return this.#current;
    const branches = [...this.readable.keys()].toSorted((a, b) => b - a).map((timeline) => this.#path(timeline));
    return branches.find(leadsOver) ?? this.#path(backup.timeline);
  }

  /** A backup of an older timeline finds the way to this one by its history file only. */
  historyMissing(timeline: TimelineId): string | undefined {
    const isNeededBy = this.#backups.some((backup) => backup.timeline < timeline);
    return timeline === 1 || this.readable.has(timeline) || !isNeededBy ? undefined : historyFileName(timeline);
  }

  #path(timeline: TimelineId): readonly TimelineStretch[] {
    return this.readable.get(timeline) ?? timelinePath(timeline, undefined);
  }
}

/** Names sort as timeline and number do. */
function heldByTimeline(wal: WalHoldings): Held {
  const held = new Map<TimelineId, Numbers[]>();
  for (const name of [...wal.segments].filter(isWalSegmentName).toSorted()) {
    const { timeline, number } = parseWalSegmentName(name, wal.segmentBytes);
    const ranges = held.get(timeline) ?? [];
    const before = ranges.at(-1);
    if (before !== undefined && before.last + 1n === number) ranges[ranges.length - 1] = { first: before.first, last: number };
    else ranges.push({ first: number, last: number });
    held.set(timeline, ranges);
  }
  return held;
}

interface WayContext {
  readonly path: readonly TimelineStretch[];
  readonly held: Held;
  readonly wal: WalHoldings;
}

/** From a backup's start to the newest segment, and at least to its finish. */
function wayOf(backup: BaseBackup, { path, held, wal }: WayContext): readonly Stretch[] {
  const finish = segmentNumberBefore(finishOf(backup), wal.segmentBytes);
  let first = segmentNumberAt(parseLsn(backup.startLsn), wal.segmentBytes);
  return path.slice(path.findIndex(({ timeline }) => timeline === backup.timeline)).map(({ timeline, endLsn }) => {
    // The segment in which a timeline is left is read on the next one, where it exists too (PostgreSQL: XLogFileReadAnyTLI).
    const newest = held.get(timeline)?.at(-1)?.last ?? -1n;
    const end = endLsn === undefined ? largest(newest, finish) + 1n : segmentNumberAt(endLsn, wal.segmentBytes);
    const stretch = { timeline, first, end: largest(first, end) };
    first = stretch.end;
    return stretch;
  });
}

function reachOf(backup: BaseBackup, way: readonly Stretch[], { held, wal }: Omit<WayContext, 'path'>): BackupReach {
  const finish = segmentNumberBefore(finishOf(backup), wal.segmentBytes);
  const missing = way.flatMap((stretch) => missingIn(stretch, held).map((numbers) => ({ timeline: stretch.timeline, ...numbers })));
  const [firstMissing] = missing;
  const reached = way
    .map(({ timeline, first, end }) => ({ timeline, first, end: firstMissing?.timeline === timeline ? firstMissing.first : end }))
    .filter(({ timeline, first, end }) => end > first && (firstMissing === undefined || timeline <= firstMissing.timeline))
    .at(-1);
  const last = reached === undefined ? undefined : { timeline: reached.timeline, number: reached.end - 1n };
  return {
    backup: backup.name,
    isUsable: last !== undefined && last.number >= finish,
    timeline: way.at(-1)?.timeline ?? backup.timeline,
    lastSegment: last === undefined ? undefined : walSegmentName(last, wal.segmentBytes),
    endLsn: last === undefined ? undefined : formatLsn(segmentStart(last.number + 1n, wal.segmentBytes)),
    missing: missing.map((range) => toRange(range.timeline, range, wal.segmentBytes)),
  };
}

interface TimelineContext {
  readonly ways: readonly { readonly backup: BaseBackup; readonly way: readonly Stretch[] }[];
  readonly held: Held;
  readonly wal: WalHoldings;
  readonly historyMissing: string | undefined;
}

function timelineWal(timeline: TimelineId, { ways, held, wal, historyMissing }: TimelineContext): TimelineWal {
  const stretches = ways.flatMap(({ backup, way }) =>
    way
      .filter((stretch) => stretch.timeline === timeline && stretch.end > stretch.first)
      .map((stretch) => ({ backup: backup.name, stretch })),
  );
  const named = (numbers: Numbers) => toRange(timeline, numbers, wal.segmentBytes);
  const needed = united(stretches.map(({ stretch }) => ({ first: stretch.first, last: stretch.end - 1n })));
  const holes = needed.flatMap(({ first, last }) => missingIn({ timeline, first, end: last + 1n }, held));
  return {
    timeline,
    held: (held.get(timeline) ?? []).map(named),
    needed: needed.map(named),
    holes: holes.map((hole) => ({
      ...named(hole),
      backups: stretches.filter(({ stretch }) => stretch.first <= hole.last && hole.first < stretch.end).map(({ backup }) => backup),
    })),
    historyMissing,
  };
}

/** What is not held between the bounds. */
function missingIn({ timeline, first, end }: Stretch, held: Held): Numbers[] {
  const missing: Numbers[] = [];
  let next = first;
  for (const range of held.get(timeline) ?? []) {
    if (range.last < next) continue;
    if (range.first >= end) break;
    if (range.first > next) missing.push({ first: next, last: range.first - 1n });
    next = range.last + 1n;
  }
  if (next < end) missing.push({ first: next, last: end - 1n });
  return missing;
}

/** Ranges that touch or overlap become one. */
function united(ranges: readonly Numbers[]): Numbers[] {
  const merged: Numbers[] = [];
  for (const range of ranges.toSorted((a, b) => compare(a.first, b.first))) {
    const before = merged.at(-1);
    if (before === undefined || range.first > before.last + 1n) merged.push(range);
    else merged[merged.length - 1] = { first: before.first, last: largest(before.last, range.last) };
  }
  return merged;
}

function toRange(timeline: TimelineId, { first, last }: Numbers, segmentBytes: number): WalRange {
  const name = (number: bigint) => walSegmentName({ timeline, number }, segmentBytes);
  return { timeline, first: name(first), last: name(last), count: Number(last - first) + 1 };
}

function finishOf({ finishLsn, startLsn }: BaseBackup): Lsn {
  return parseLsn(finishLsn ?? startLsn);
}

function largest(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
