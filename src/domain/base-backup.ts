/** What is known of a base backup; JSON-safe, so that it may travel through Temporal. */
import type { TimelineId, WalSegmentName } from './wal-segment.ts';

/** A base backup that exists: its sentinel is in the archive. */
export interface BaseBackup {
  /** WAL-G's name, `base_000000010000000000000005`. */
  readonly name: string;
  readonly timeline: TimelineId;
  /** Where replay begins, `0/5000028`. */
  readonly startLsn: string;
  /** Where the backup is consistent, from pg_backup_stop. Undefined in archives whose sentinel does not say (WAL-E). */
  readonly finishLsn: string | undefined;
  /** By the source's clock, RFC 3339 in UTC. */
  readonly startTime: string;
  readonly finishTime: string;
  /** server_version_num, for example 160014. */
  readonly pgVersion: number;
  /** Decimal: a 64-bit number does not fit in JavaScript's. */
  readonly systemIdentifier: string | undefined;
  readonly hostname: string;
  /** The source's data directory. */
  readonly dataDirectory: string;
  readonly uncompressedBytes: number;
  readonly compressedBytes: number;
  readonly isPermanent: boolean;
  /** Name of the backup this one is a delta of; undefined for a full backup. */
  readonly deltaFrom: string | undefined;
  /** Segment that holds startLsn. */
  readonly startSegment: WalSegmentName;
}

/** PostgreSQL's major version of a server_version_num: 160014 is 16. */
export function majorOf(pgVersion: number): number {
  return Math.floor(pgVersion / 10_000);
}
