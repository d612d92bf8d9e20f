/** Making a restore point on a running source. */
import { parseInstant } from '../domain/instant.ts';
import type { RestorePoint } from '../domain/restore-point.ts';
import type { ServerConnection } from './connection.ts';
import { instantSql, timelineSql } from './server-facts.ts';

/** Makes it. @throws WalkbackError STATEMENT_FAILED on a server in recovery */
export async function createRestorePoint(connection: ServerConnection, name: string): Promise<RestorePoint> {
  const [row] = await connection.query<{ lsn: string; time: string; timeline: string }>(
    `SELECT pg_create_restore_point($1)::text AS lsn, ${instantSql('clock_timestamp()')} AS time, ${timelineSql} AS timeline`,
    [name],
  );
  if (row === undefined) throw new TypeError('a SELECT without FROM gave no row');
  return { name, lsn: row.lsn, time: parseInstant(row.time), timeline: Number(row.timeline) };
}
