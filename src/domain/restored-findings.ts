/** What came along from the source and somebody should know of: no failure of the restore by itself. */

/** What kind of thing it is. */
export type FindingKind =
  | 'subscription'
  | 'user-mapping'
  | 'session'
  | 'credential'
  | 'md5-password'
  | 'superuser'
  | 'scheduler'
  | 'collation'
  | 'prepared-transaction'
  | 'unlogged-table'
  | 'invalid-index'
  | 'page-checksums'
  | 'configuration'
  | 'not-inspected';

/** One of them. */
export interface RestoredFinding {
  readonly kind: FindingKind;
  /** Null: it concerns the whole cluster. */
  readonly database: string | null;
  /** What it is and what to do, in a sentence or two; never a secret. */
  readonly text: string;
}

/** Findings as a report holds them. */
export interface RestoredFindings {
  readonly findings: readonly RestoredFinding[];
  /** Findings that are not told, because there are too many. */
  readonly leftOut: number;
}

/** With 200 characters each they fit into a report of 64 KiB, beside everything else. */
const findingsMaximum = 100;
const textMaximumLength = 300;

/** Cuts them to what a report holds. */
export function boundedFindings(findings: readonly RestoredFinding[]): RestoredFindings {
  const told = findings.slice(0, findingsMaximum).map((finding) => ({ ...finding, text: shortened(finding.text) }));
  return { findings: told, leftOut: findings.length - told.length };
}

/** `reporting: unlogged-table: …`, for a terminal. */
export function renderFinding({ kind, database, text }: RestoredFinding): string {
  return `${kind}${database === null ? '' : ` in ${database}`}: ${text}`;
}

function shortened(text: string): string {
  return text.length <= textMaximumLength ? text : `${text.slice(0, textMaximumLength - 1)}…`;
}
