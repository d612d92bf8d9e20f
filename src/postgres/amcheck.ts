/** PostgreSQL's own look at the structure of tables and B-tree indexes (manual, appendix F, amcheck), without leaving anything behind. */
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { ServerConnection } from './connection.ts';

/** What was looked at, and what is wrong; bounded. */
export interface AmcheckResult {
  readonly indexes: number;
  readonly tables: number;
  readonly problems: readonly string[];
}

const problemsMaximum = 10;

const indexesSql = `SELECT c.oid::text, c.oid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
  WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid ORDER BY c.oid`;
const tablesSql = `SELECT c.oid::text, c.oid::regclass::text AS name FROM pg_class c JOIN pg_am a ON a.oid = c.relam
  WHERE a.amname = 'heap' AND c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p' ORDER BY c.oid`;

/**
 * Checks every B-tree index and every table of a database. The extension is created in a transaction that is rolled back.
 * @throws WalkbackError STATEMENT_FAILED when amcheck is not installed on the host
 */
export async function runAmcheck(connection: ServerConnection): Promise<AmcheckResult> {
  await connection.query('BEGIN');
  try {
    await connection.query('CREATE SCHEMA walkback_amcheck');
    const isThere = (await connection.query(`SELECT 1 FROM pg_extension WHERE extname = 'amcheck'`)).length > 0;
    if (!isThere) await connection.query('CREATE EXTENSION amcheck SCHEMA walkback_amcheck');
    const schema = await connection.queryFirstValue(
      `SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'amcheck'`,
    );
    const problems: string[] = [];
    const indexes = await connection.query<{ oid: string; name: string }>(indexesSql);
    for (const { oid, name } of indexes)
      problems.push(...(await problemsOf(connection, name, `SELECT ${schema}.bt_index_check(${oid}::regclass, true)`)));
    const tables = await connection.query<{ oid: string; name: string }>(tablesSql);
    for (const { oid, name } of tables) {
      const sql = `SELECT format('block %s, offset %s: %s', blkno, offnum, msg) AS problem FROM ${schema}.verify_heapam(${oid}::regclass) LIMIT ${problemsMaximum}`;
      problems.push(...(await problemsOf(connection, name, sql)));
    }
    return { indexes: indexes.length, tables: tables.length, problems: problems.slice(0, problemsMaximum) };
  } finally {
    await connection.query('ROLLBACK');
  }
}

/** A damaged page ends the statement, and with it the transaction, so each has a savepoint. */
async function problemsOf(connection: ServerConnection, name: string, sql: string): Promise<string[]> {
  await connection.query('SAVEPOINT walkback');
  try {
    const rows = await connection.query<{ problem?: string }>(sql);
    return rows.flatMap(({ problem }) => (problem === undefined ? [] : [`${name}: ${problem}`]));
  } catch (error) {
    if (!(error instanceof WalkbackError) || error.code !== 'STATEMENT_FAILED') throw error;
    await connection.query('ROLLBACK TO walkback');
    return [`${name}: ${messageOf(error)}`];
  }
}
