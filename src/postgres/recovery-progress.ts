/** A recovery and its landing, as the server's functions tell them (manual, section 9.28.4). */
import { type Instant, parseInstant } from '../domain/instant.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import type { ServerConnection } from './connection.ts';
import { instantSql, timelineSql } from './server-facts.ts';

/** How far replay is. */
export interface RecoveryProgress {
  readonly inRecovery: boolean;
  readonly paused: boolean;
  /** Undefined on a server that never was in recovery since it started. */
  readonly replayLsn: string | undefined;
  /** Time of the last commit or abort replayed, by the source's clock. */
  readonly lastReplayedCommitTime: Instant | undefined;
}

/** Where a server stands that has left recovery. */
export interface LandingFacts {
  readonly timeline: TimelineId;
  readonly currentWalLsn: string;
  readonly systemIdentifier: string;
}

const progressSql = `
  SELECT pg_is_in_recovery() AS "inRecovery",
    CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' ELSE false END AS paused,
    pg_last_wal_replay_lsn()::text AS "replayLsn",
    ${instantSql('pg_last_xact_replay_timestamp()')} AS "lastCommit"`;

/** Asks a server in hot standby, or one that has left recovery. */
export async function readRecoveryProgress(connection: ServerConnection): Promise<RecoveryProgress> {
  const [row] = await connection.query<{ inRecovery: boolean; paused: boolean; replayLsn: string | null; lastCommit: string | null }>(
    progressSql,
  );
  if (row === undefined) throw new TypeError('a SELECT without FROM gave no row');
  return {
    inRecovery: row.inRecovery,
    paused: row.paused,
    replayLsn: row.replayLsn ?? undefined,
    lastReplayedCommitTime: row.lastCommit === null ? undefined : parseInstant(row.lastCommit),
  };
}

/** Goes on from a pause; at a recovery target that ends recovery and promotes. @throws WalkbackError STATEMENT_FAILED when not in recovery */
export async function resumeReplay(connection: ServerConnection): Promise<void> {
  await connection.query('SELECT pg_wal_replay_resume()');
}

/** Asks a server that has left recovery. @throws WalkbackError STATEMENT_FAILED while it is in recovery */
export async function readLandingFacts(connection: ServerConnection): Promise<LandingFacts> {
  const [row] = await connection.query<{ timeline: string; currentWalLsn: string; systemIdentifier: string }>(
    `SELECT ${timelineSql} AS timeline, pg_current_wal_lsn()::text AS "currentWalLsn",
       (SELECT system_identifier::text FROM pg_control_system()) AS "systemIdentifier"`,
  );
  if (row === undefined) throw new TypeError('a SELECT without FROM gave no row');
  return { ...row, timeline: Number(row.timeline) };
}

/**
 * Proves that the server writes: commits a message to the WAL, which leaves nothing behind in the data.
 * @throws WalkbackError STATEMENT_FAILED when it is read-only
 */
export async function probeWrite(connection: ServerConnection): Promise<void> {
  await connection.query(`SELECT pg_logical_emit_message(true, 'walkback', 'write probe')`);
}
