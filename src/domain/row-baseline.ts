/** Row counts of a cluster that are remembered, and what a restored one has in comparison. */
import type { CheckReport } from './landing-report.ts';

/** The rows of one table. */
export interface TableRows {
  /** Quoted where it has to be, with its schema. */
  readonly table: string;
  readonly rows: number;
}

/** What was counted. */
export interface RowBaseline {
  /** RFC 3339, by the clock of the cluster, before counting began. */
  readonly takenAt: string;
  readonly database: string;
  readonly tables: readonly TableRows[];
  /** Tables that were not counted, because there are too many. */
  readonly leftOut: number;
}

/** How far counts may be from the baseline. */
export interface BaselineTolerance {
  /** 0: exactly as many. */
  readonly percent: number;
}

/** One check for all tables: it names those that are too far off, the worst first. */
export function compareRows(baseline: RowBaseline, found: ReadonlyMap<string, number>, { percent }: BaselineTolerance): CheckReport {
  const off = baseline.tables
    .map(({ table, rows }) => ({ table, rows, now: found.get(table) }))
    .filter(({ rows, now }) => now === undefined || Math.abs(now - rows) * 100 > rows * percent)
    .toSorted((a, b) => distance(b) - distance(a));
  const expected = `${baseline.tables.length} tables within ${percent} % of what they had at ${baseline.takenAt}`;
  const named = off.slice(0, namedMaximum).map(({ table, rows, now }) => `${table}: ${now ?? 'is not there'} instead of ${rows}`);
  const more = off.length > namedMaximum ? [`and ${off.length - namedMaximum} more`] : [];
  return {
    sql: 'row counts against the baseline',
    expected,
    actual: off.length === 0 ? expected : [...named, ...more].join('; '),
    ok: off.length === 0,
  };
}

const namedMaximum = 10;

function distance({ rows, now }: { readonly rows: number; readonly now: number | undefined }): number {
  return now === undefined ? Number.POSITIVE_INFINITY : Math.abs(now - rows) / Math.max(rows, 1);
}
