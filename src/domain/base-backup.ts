/** What is known of a base backup; JSON-safe, so that it may travel through Temporal. */
import type { TimelineId, WalSegmentName } from './wal-segment.ts';

/** What a base backup holds: every file, or what changed since the newest backup. */
export type BackupKind = 'full' | 'incremental';

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
  /** Bytes that restoring a delta takes on disk, its chain included. Absent for full backups: theirs are uncompressedBytes. */
  readonly restoredBytes?: number;
  /** Segment that holds startLsn. */
  readonly startSegment: WalSegmentName;
  /** Pages whose checksum was wrong when the backup was taken: they are so in the backup too. Absent: none was found. */
  readonly damagedBlockCount?: number;
}

/** Pages whose checksum was wrong when a backup was taken. */
export interface PageDamage {
  readonly blockCount: number;
  /** The first hundred files that have any. */
  readonly files: readonly DamagedFile[];
}

/** A relation's file with damaged pages. */
export interface DamagedFile {
  /** `base/<OID of the database>/<filenode>`, relative to the data directory. */
  readonly file: string;
  /** `database.schema.name`, without the database for what all share; of the first twenty files, as far as the server could tell. */
  readonly relation?: string;
  readonly blockCount: number;
  /** The first ten, numbered within the relation. */
  readonly blocks: readonly number[];
}

/** PostgreSQL's major version of a server_version_num: 160014 is 16. */
export function majorOf(pgVersion: number): number {
  return Math.floor(pgVersion / 10_000);
}

/** Files that one sentence names. */
const namedFiles = 3;

/** For people: `2 pages have a wrong checksum: base/5/16384, shop.public.orders (block 7, 9)`. */
export function describeDamage({ blockCount, files }: PageDamage): string {
  const named = files.slice(0, namedFiles).map(({ file, relation, blocks }) => {
    return `${relation === undefined ? file : `${file}, ${relation}`} (block ${blocks.join(', ')})`;
  });
  const rest = files.length > namedFiles ? `; and in ${files.length - namedFiles} more files` : '';
  return `${blockCount} ${blockCount === 1 ? 'page has' : 'pages have'} a wrong checksum: ${named.join('; ')}${rest}`;
}
