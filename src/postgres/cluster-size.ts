/** How much a cluster holds. */
import type { ServerConnection } from './connection.ts';

/** Bytes of all databases, in whichever tablespace they lie; an estimate of what a base backup reads. @throws WalkbackError STATEMENT_FAILED, POSTGRES_UNREACHABLE */
export async function readClusterBytes(connection: ServerConnection): Promise<number> {
  const [row] = await connection.query<{ bytes: string }>(
    `SELECT (pg_tablespace_size('pg_global') + sum(pg_database_size(oid)))::text AS bytes FROM pg_database`,
  );
  return Number(row?.bytes ?? 0);
}
