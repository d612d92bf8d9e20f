/**
 * Which blocks changed, by the server's WAL summaries (manual, "WAL Summarization Functions"); from PostgreSQL 17 on, when summarize_wal is on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { majorOf } from '../domain/base-backup.ts';
import { type Lsn, parseLsn } from '../domain/lsn.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import type { ServerConnection } from './connection.ts';

/** A stretch of WAL on one timeline. */
interface WalRange {
  readonly timeline: TimelineId;
  readonly fromLsn: string;
  readonly toLsn: string;
}

/** One changed block of a relation's main fork, or the size to which the relation was cut. */
export interface SummarizedBlock {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly block: number;
  readonly isLimit: boolean;
}

const firstMajor = 17;
/** The summarizer follows the WAL within seconds; a base backup must not wait for one that is stuck. */
const summarizedWithinMs = 10_000;
const pollIntervalMs = 100;
/** Rows of one answer: some MB. */
const fetchRows = 50_000;

interface Summary {
  readonly start: string;
  readonly end: string;
}

/**
 * Tells of every block that changed in the stretch.
 * @returns false, before anything was told, when the server has no summaries for all of it
 * @throws WalkbackError STATEMENT_FAILED, POSTGRES_UNREACHABLE
 */
export async function readWalSummaries(
  connection: ServerConnection,
  range: WalRange,
  onBlock: (block: SummarizedBlock) => void,
): Promise<boolean> {
  const [server] = await connection.query<{ version: number; on: boolean }>(
    `SELECT current_setting('server_version_num')::int AS version, coalesce(current_setting('summarize_wal', true), 'off') = 'on' AS on`,
  );
  if (server === undefined || majorOf(server.version) < firstMajor || !server.on) return false;
  const summaries = await awaitSummaries(connection, range);
  if (summaries === undefined) return false;
  for (const summary of summaries) await readSummary(connection, { ...summary, timeline: range.timeline }, onBlock);
  return true;
}

async function awaitSummaries(connection: ServerConnection, range: WalRange): Promise<readonly Summary[] | undefined> {
  const deadlineMs = performance.now() + summarizedWithinMs;
  for (;;) {
    const summaries = await connection.query<Summary>(
      `SELECT start_lsn::text AS start, end_lsn::text AS "end" FROM pg_available_wal_summaries()
        WHERE tli = $1 AND end_lsn > $2::pg_lsn AND start_lsn < $3::pg_lsn ORDER BY start_lsn`,
      [range.timeline, range.fromLsn, range.toLsn],
    );
    if (areComplete(summaries, range)) return summaries;
    if (performance.now() >= deadlineMs) return undefined;
    await delay(pollIntervalMs);
  }
}

function areComplete(summaries: readonly Summary[], { fromLsn, toLsn }: WalRange): boolean {
  let reached: Lsn = parseLsn(fromLsn);
  for (const { start, end } of summaries) {
    if (parseLsn(start) > reached) return false;
    if (parseLsn(end) > reached) reached = parseLsn(end);
  }
  return reached >= parseLsn(toLsn);
}

async function readSummary(
  connection: ServerConnection,
  { start, end, timeline }: Summary & { readonly timeline: TimelineId },
  onBlock: (block: SummarizedBlock) => void,
): Promise<void> {
  await connection.query('BEGIN READ ONLY');
  // The arguments are numbers and positions that the server itself gave: DECLARE takes no parameters.
  await connection.query(
    `DECLARE changed NO SCROLL CURSOR FOR SELECT reltablespace::bigint AS tablespace, reldatabase::bigint AS database,
      relfilenode::bigint AS relation, relblocknumber AS block, is_limit_block AS "isLimit"
      FROM pg_wal_summary_contents(${timeline}, '${start}', '${end}') WHERE relforknumber = 0`,
  );
  for (;;) {
    const rows = await connection.query<Record<'tablespace' | 'database' | 'relation' | 'block', string> & { isLimit: boolean }>(
      `FETCH ${fetchRows} FROM changed`,
    );
    for (const { isLimit, ...row } of rows) {
      const numbers = { tablespace: Number(row.tablespace), database: Number(row.database), relation: Number(row.relation) };
      onBlock({ ...numbers, block: Number(row.block), isLimit });
    }
    if (rows.length < fetchRows) break;
  }
  await connection.query('COMMIT');
}
