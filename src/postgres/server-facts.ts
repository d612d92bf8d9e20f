/** What a running server says about itself, in one statement. */
import { type Instant, parseInstant } from '../domain/instant.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import type { ServerConnection } from './connection.ts';

/** A server's identity and the settings that backup and restore depend on. */
export interface ServerFacts {
  readonly serverVersionNum: number;
  /** Decimal: a 64-bit number does not fit in JavaScript's. */
  readonly systemIdentifier: string;
  readonly dataDirectory: string;
  readonly timeline: TimelineId;
  readonly walSegmentBytes: number;
  readonly archiveMode: 'on' | 'off' | 'always';
  readonly archiveCommand: string;
  /** 0: a segment is never closed because of its age. */
  readonly archiveTimeoutSeconds: number;
  readonly walLevel: 'minimal' | 'replica' | 'logical';
  readonly inRecovery: boolean;
  readonly dataChecksums: boolean;
  /** The server's clock. */
  readonly now: Instant;
  /** Where WAL is written; in recovery, where it was replayed to. */
  readonly currentWalLsn: string;
  readonly configFile: string;
  readonly hbaFile: string;
}

/** SQL for a timestamp as RFC 3339 in UTC with microseconds. */
export function instantSql(expression: string): string {
  return `to_char(${expression} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/** SQL for the timeline: of the segment being written, or in recovery of the latest checkpoint. */
export const timelineSql = `CASE WHEN pg_is_in_recovery() THEN (pg_control_checkpoint()).timeline_id::text
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int::text END`;

const factsSql = `
  SELECT current_setting('server_version_num') AS "serverVersionNum",
    (SELECT system_identifier::text FROM pg_control_system()) AS "systemIdentifier",
    current_setting('data_directory') AS "dataDirectory",
    ${timelineSql} AS "timeline",
    pg_size_bytes(current_setting('wal_segment_size'))::text AS "walSegmentBytes",
    current_setting('archive_mode') AS "archiveMode",
    (SELECT setting FROM pg_settings WHERE name = 'archive_command') AS "archiveCommand",
    (SELECT setting FROM pg_settings WHERE name = 'archive_timeout') AS "archiveTimeoutSeconds",
    current_setting('wal_level') AS "walLevel",
    pg_is_in_recovery() AS "inRecovery",
    current_setting('data_checksums') = 'on' AS "dataChecksums",
    ${instantSql('clock_timestamp()')} AS "now",
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS "currentWalLsn",
    current_setting('config_file') AS "configFile",
    current_setting('hba_file') AS "hbaFile"`;

type FactsRow = Omit<ServerFacts, 'serverVersionNum' | 'timeline' | 'walSegmentBytes' | 'archiveTimeoutSeconds' | 'now'> & {
  readonly serverVersionNum: string;
  readonly timeline: string;
  readonly walSegmentBytes: string;
  readonly archiveTimeoutSeconds: string;
  readonly now: string;
};

/**
 * Asks the server. Needs a superuser or a member of pg_read_all_settings and pg_monitor, because data_directory is hidden from others.
 * @throws WalkbackError STATEMENT_FAILED, POSTGRES_UNREACHABLE
 */
export async function readServerFacts(connection: ServerConnection): Promise<ServerFacts> {
  const [row] = await connection.query<FactsRow>(factsSql);
  if (row === undefined) throw new TypeError('a SELECT without FROM gave no row');
  return {
    ...row,
    serverVersionNum: Number(row.serverVersionNum),
    timeline: Number(row.timeline),
    walSegmentBytes: Number(row.walSegmentBytes),
    archiveTimeoutSeconds: Number(row.archiveTimeoutSeconds),
    now: parseInstant(row.now),
  };
}
