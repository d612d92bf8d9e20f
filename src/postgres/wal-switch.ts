/** Closing the segment that the source is writing, so that everything committed until now can be archived. */
import { type Instant, parseInstant } from '../domain/instant.ts';
import { parseLsn } from '../domain/lsn.ts';
import { segmentNumberBefore, type TimelineId, walSegmentName, type WalSegmentName } from '../domain/wal-segment.ts';
import type { ServerConnection } from './connection.ts';
import { instantSql, timelineSql } from './server-facts.ts';

/** A segment that was closed. */
export interface WalSwitch {
  /** By the source's clock, read before the switch: what was committed until then lies before `lsn`. */
  readonly switchedAt: Instant;
  /** End of the closed WAL. */
  readonly lsn: string;
  /** The segment that holds the last byte before `lsn`. */
  readonly segment: WalSegmentName;
  readonly timeline: TimelineId;
}

/** Choices of a switch. */
export interface WalSwitchOptions {
  /**
   * Commit a tiny message first. It gives a later recovery a commit after `switchedAt`, which is the only thing that satisfies a target in
   * time (postgres-recovery.md, M1 and M2). Default false.
   */
  readonly anchor?: boolean;
}

/**
 * Switches to a new segment (manual, section 9.28.3). On a server that wrote nothing since the last switch, PostgreSQL does nothing and gives
 * the start of the current segment; the segment is the one before, which was closed already.
 * @throws WalkbackError STATEMENT_FAILED on a server in recovery, POSTGRES_UNREACHABLE
 */
export async function switchWal(connection: ServerConnection, options: WalSwitchOptions = {}): Promise<WalSwitch> {
  const [before] = await connection.query<{ at: string; walSegmentBytes: string }>(
    `SELECT ${instantSql('clock_timestamp()')} AS at, pg_size_bytes(current_setting('wal_segment_size'))::text AS "walSegmentBytes"`,
  );
  if (options.anchor === true) await connection.query(`SELECT pg_logical_emit_message(true, 'walkback', 'anchor')`);
  const [after] = await connection.query<{ lsn: string; timeline: string }>(
    `SELECT pg_switch_wal()::text AS lsn, ${timelineSql} AS timeline`,
  );
  if (before === undefined || after === undefined) throw new TypeError('a SELECT without FROM gave no row');
  const timeline = Number(after.timeline);
  const segmentBytes = Number(before.walSegmentBytes);
  const number = segmentNumberBefore(parseLsn(after.lsn), segmentBytes);
  return { switchedAt: parseInstant(before.at), lsn: after.lsn, segment: walSegmentName({ timeline, number }, segmentBytes), timeline };
}
