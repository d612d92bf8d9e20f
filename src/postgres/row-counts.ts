/** Counts the rows of every table of a database. */
import type { TableRows } from '../domain/row-baseline.ts';
import type { ServerConnection } from './connection.ts';

/** More are not counted. */
const tablesMaximum = 1000;

/** Ordinary tables and partitions; unlogged ones are empty after a restore and do not count. */
const tablesSql = `SELECT format('%I.%I', nspname, relname) AS table FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\\_toast%'
  ORDER BY 1`;

/** Counts in one snapshot, in which nothing changes meanwhile. */
export async function countRows(
  connection: ServerConnection,
): Promise<{ readonly tables: readonly TableRows[]; readonly leftOut: number }> {
  await connection.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  const names = await connection.query<{ table: string }>(tablesSql);
  const tables: TableRows[] = [];
  for (const { table } of names.slice(0, tablesMaximum)) {
    tables.push({ table, rows: Number(await connection.queryFirstValue(`SELECT count(*) FROM ONLY ${table}`)) });
  }
  await connection.query('COMMIT');
  return { tables, leftOut: Math.max(0, names.length - tablesMaximum) };
}
