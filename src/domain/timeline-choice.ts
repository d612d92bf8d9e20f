/** Which timeline a restore ends on, and the way there from each base backup. */
import type { BaseBackup } from './base-backup.ts';
import { WalkbackError } from './errors.ts';
import type { TargetTimeline } from './recovery-target.ts';
import { latestTimeline, timelinePath, type TimelineStretch } from './timeline.ts';
import type { TimelineId } from './wal-segment.ts';

/** What the archive knows of timelines. */
interface KnownTimelines {
  readonly backups: readonly BaseBackup[];
  /** Content of the history files by timeline. */
  readonly histories: ReadonlyMap<TimelineId, string>;
}

/** A choice made. */
export interface TimelineChoice {
  /** The way that a restore from this backup goes; the backup itself need not lie on it. */
  readonly pathOf: (backup: BaseBackup) => readonly TimelineStretch[];
}

/**
 * Makes the choice.
 * @throws WalkbackError NO_BACKUP, TARGET_UNREACHABLE for a timeline of which the archive holds neither a history file nor a backup
 */
export function timelineChoice(wanted: TargetTimeline, known: KnownTimelines): TimelineChoice {
  if (wanted === 'current') return { pathOf: (backup) => timelinePath(backup.timeline, known.histories.get(backup.timeline)) };
  const timeline = wanted === 'latest' ? newestTimeline(known) : checkedTimeline(wanted, known);
  const path = timelinePath(timeline, known.histories.get(timeline));
  return { pathOf: () => path };
}

/** PostgreSQL looks for newer timelines from the one of its backup on; older backups lie on the way to the newest, or on a branch that was left. */
function newestTimeline({ backups, histories }: KnownTimelines): TimelineId {
  if (backups.length === 0) throw new WalkbackError('NO_BACKUP', 'The archive holds no base backup.');
  return latestTimeline(Math.max(...backups.map((backup) => backup.timeline)), new Set(histories.keys()));
}

function checkedTimeline(timeline: TimelineId, { backups, histories }: KnownTimelines): TimelineId {
  const timelines = new Set([...histories.keys(), ...backups.map((backup) => backup.timeline)]);
  if (timelines.has(timeline)) return timeline;
  throw new WalkbackError(
    'TARGET_UNREACHABLE',
    `The archive knows nothing of timeline ${timeline}; it holds the timelines ${[...timelines].sort((a, b) => a - b).join(', ') || 'none'}.`,
    { facts: { timeline } },
  );
}
