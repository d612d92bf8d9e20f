/** Archives for the planner, told in segment numbers: what lies in them is decided by the test, the names by PostgreSQL's rules. */
import type { BaseBackup } from '../../../src/domain/base-backup.ts';
import { type Instant, parseInstant } from '../../../src/domain/instant.ts';
import { formatLsn, lsn } from '../../../src/domain/lsn.ts';
import type { PlanOptions, WalHoldings } from '../../../src/domain/recovery-plan.ts';
import { defaultWalSegmentBytes, type TimelineId, walSegmentName, type WalSegmentName } from '../../../src/domain/wal-segment.ts';

/** Name of a segment of 16 MiB. */
export function segment(timeline: TimelineId, number: number): WalSegmentName {
  return walSegmentName({ timeline, number: BigInt(number) });
}

/** A position in a segment of 16 MiB, as PostgreSQL writes it. */
export function positionIn(number: number, offsetBytes: number): string {
  return formatLsn(lsn(BigInt(number) * BigInt(defaultWalSegmentBytes) + BigInt(offsetBytes)));
}

/** The instant so many minutes after 2026-11-22 10:00 UTC. */
export function minute(count: number): Instant {
  return parseInstant(new Date(Date.parse('2026-11-22T10:00:00Z') + count * 60_000).toISOString());
}

/** What a test says of a backup; it ends in the segment it begins in unless `finishSegment` says otherwise. */
export interface BackupStory {
  readonly timeline?: TimelineId;
  readonly startSegment: number;
  readonly finishSegment?: number;
  readonly finishMinute: number;
}

/** A full backup. */
export function backup(story: BackupStory): BaseBackup {
  const { timeline = 1, startSegment, finishSegment = startSegment, finishMinute } = story;
  return {
    name: `base_${segment(timeline, startSegment)}`,
    timeline,
    startLsn: positionIn(startSegment, 0x28),
    finishLsn: positionIn(finishSegment, 0x150),
    startTime: minute(finishMinute - 1),
    finishTime: minute(finishMinute),
    pgVersion: 160_014,
    systemIdentifier: '7350000000000000001',
    hostname: 'db1',
    dataDirectory: '/var/lib/postgresql/data',
    uncompressedBytes: 1000,
    compressedBytes: 100,
    isPermanent: false,
    deltaFrom: undefined,
    startSegment: segment(timeline, startSegment),
  };
}

/** Segments `first` to `last` of a timeline. */
export function segments(timeline: TimelineId, first: number, last: number): WalSegmentName[] {
  return Array.from({ length: last - first + 1 }, (_, index) => segment(timeline, first + index));
}

/** WAL in an archive. @param histories content of history files by timeline */
export function wal(names: readonly string[], histories: Readonly<Record<number, string>> = {}): WalHoldings {
  return {
    segments: new Set(names),
    histories: new Map(Object.entries(histories).map(([timeline, text]) => [Number(timeline), text])),
    segmentBytes: defaultWalSegmentBytes,
  };
}

/** A history file's line: the timeline was left in that segment. */
export function fork(timeline: TimelineId, segmentNumber: number, offsetBytes: number): string {
  return `${timeline}\t${positionIn(segmentNumber, offsetBytes)}\tno recovery target specified\n`;
}

/** Planner's options for a target in time. @param closedAtMinutes when segments were closed, by name */
export function toMinute(
  count: number,
  archive: Pick<PlanOptions, 'backups' | 'wal'> & { readonly closedAtMinutes?: Readonly<Record<string, number>> },
): PlanOptions {
  const { backups, wal: holdings, closedAtMinutes = {} } = archive;
  return {
    target: { kind: 'time', time: minute(count) },
    backups,
    wal: holdings,
    closedAt: async (name) => {
      const closed = closedAtMinutes[name];
      return closed === undefined ? undefined : minute(closed);
    },
  };
}

/** Planner's options for all the WAL there is. */
export function toLatest(archive: Pick<PlanOptions, 'backups' | 'wal'>): PlanOptions {
  return { target: { kind: 'latest' }, ...archive, closedAt: async () => undefined };
}
