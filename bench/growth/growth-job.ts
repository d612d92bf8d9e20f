/** What a growth case is, and what comes back from the process that does it. */
import type { BackupStart, BackupStop } from '../../src/archive/base-backup-push.ts';
import { defaultWalSegmentBytes } from '../../src/domain/wal-segment.ts';

/** One piece of work for a process of its own. */
export interface GrowthJob {
  readonly kind: 'push' | 'fetch' | 'wal-push' | 'wal-fetch';
  readonly endpoint: string;
  readonly bucket: string;
  readonly prefix: string;
  readonly directory: string;
  /** Segments, for WAL. */
  readonly names: readonly string[];
  readonly concurrency: number;
  /** The work is ended after it, and what was reached counts: memory shows long before the end. */
  readonly capSeconds: number;
}

/** What it took. */
export interface GrowthOutcome {
  readonly isComplete: boolean;
  readonly bytesDone: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

/** Of a backup that no server takes part in. */
export const backupStart: BackupStart = {
  name: 'base_000000010000000000000005',
  timeline: 1,
  startLsn: '0/5000028',
  startTime: '2026-11-26T12:00:00Z',
  pgVersion: 170_000,
  systemIdentifier: '7570000000000000001',
  hostname: 'bench',
  walSegmentBytes: defaultWalSegmentBytes,
};

export const backupStop: BackupStop = {
  finishLsn: '0/5000100',
  finishTime: '2026-11-26T12:00:01Z',
  labelFile: 'START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n',
  tablespaceMap: '',
};
