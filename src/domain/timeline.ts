/** Timelines and their history files (PostgreSQL manual, section 26.3.6; src/backend/access/transam/timeline.c). */
import { WalkbackError } from './errors.ts';
import { type Lsn, parseLsn } from './lsn.ts';
import type { TimelineId } from './wal-segment.ts';

/** A stretch of WAL on the way to a timeline: it is read on `timeline` up to `endLsn`, exclusive; the last stretch has no end. */
export interface TimelineStretch {
  readonly timeline: TimelineId;
  readonly startLsn: Lsn;
  readonly endLsn: Lsn | undefined;
}

const historyLinePattern = /^\s*(\d+)\s+([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(\s.*)?$/;
const historyLinesMaximum = 10_000;

/**
 * The way from the beginning to a timeline.
 * @param timeline where the way ends
 * @param historyText content of its history file; undefined for a timeline that never forked (1)
 * @throws WalkbackError OBJECT_DAMAGED for a file that PostgreSQL would not accept
 */
export function timelinePath(timeline: TimelineId, historyText: string | undefined): readonly TimelineStretch[] {
  const forks = historyText === undefined ? [] : parseForks(timeline, historyText);
  const starts = [0n as Lsn, ...forks.map((fork) => fork.switchLsn)];
  const timelines = [...forks.map((fork) => fork.timeline), timeline];
  return timelines.map((id, index) => ({ timeline: id, startLsn: starts[index] ?? (0n as Lsn), endLsn: forks[index]?.switchLsn }));
}

/** Does the position, reached on the given timeline, lie on the way? */
export function liesOnPath(path: readonly TimelineStretch[], timeline: TimelineId, position: Lsn): boolean {
  return path.some((stretch) => stretch.timeline === timeline && (stretch.endLsn === undefined || position <= stretch.endLsn));
}

/**
 * The timeline that PostgreSQL takes for recovery_target_timeline = 'latest': it asks for the history files of start + 1, + 2, …
 * until one is missing (findNewestTimeLine).
 */
export function latestTimeline(start: TimelineId, timelinesWithHistory: ReadonlySet<TimelineId>): TimelineId {
  let latest = start;
  while (timelinesWithHistory.has(latest + 1)) latest += 1;
  return latest;
}

function parseForks(timeline: TimelineId, text: string): { timeline: TimelineId; switchLsn: Lsn }[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.trimStart().startsWith('#'));
  if (lines.length > historyLinesMaximum) throw damaged(timeline, `it has more than ${historyLinesMaximum} lines`);
  const forks = lines.map((line) => {
    const match = historyLinePattern.exec(line);
    if (match === null) throw damaged(timeline, `the line "${line.slice(0, 80)}" has no timeline and position`);
    return { timeline: Number(match[1]), switchLsn: parseLsn(match[2] ?? '') };
  });
  const ascending =
    forks.every((fork, index) => fork.timeline > (forks[index - 1]?.timeline ?? 0)) && (forks.at(-1)?.timeline ?? 0) < timeline;
  if (!ascending) throw damaged(timeline, 'its timelines do not ascend');
  if (forks.some((fork, index) => fork.switchLsn < (forks[index - 1]?.switchLsn ?? 0n))) throw damaged(timeline, 'its positions fall');
  return forks;
}

function damaged(timeline: TimelineId, why: string): WalkbackError {
  return new WalkbackError('OBJECT_DAMAGED', `The history file of timeline ${timeline} cannot be used: ${why}.`, { facts: { timeline } });
}
