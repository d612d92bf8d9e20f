/** Which reason of the table in recovery-fatals.ts a record of PostgreSQL's log tells. */
import { type FatalEntry, type RecoveryFatalCode, recoveryFatals } from './recovery-fatals.ts';

/** The reason, with PostgreSQL's own words. */
export interface RecoveryFatal {
  readonly code: RecoveryFatalCode;
  readonly message: string;
  readonly detail: string | undefined;
}

/** What of a log record tells the reason. */
interface FatalRecord {
  readonly severity: string;
  readonly sqlState: string | undefined;
  readonly message: string;
  readonly detail: string | undefined;
  readonly backendType: string | undefined;
}

const entries = Object.entries(recoveryFatals) as readonly (readonly [RecoveryFatalCode, FatalEntry])[];
const serverItself: ReadonlySet<string> = new Set(['startup', 'postmaster']);
/** What the postmaster says in a plain LOG record of the process that replays. */
const startupProcessPattern = /^startup process \(PID \d+\) (?:was terminated by|exited with exit code)/;
/** Before logging begins, the program only prints. */
const withoutSeverityPattern = /could not find the database system/;

/** Classifies a record; undefined when it only concerns one client's session ("the database system is starting up"), or is no reason at all. */
export function recoveryFatalOf(record: FatalRecord): RecoveryFatal | undefined {
  const { severity, message, detail, backendType } = record;
  if (severity !== 'FATAL' && severity !== 'PANIC') {
    const tells = startupProcessPattern.test(message) || (backendType === undefined && withoutSeverityPattern.test(message));
    return tells ? { code: codeByMessage(message) ?? 'other', message, detail } : undefined;
  }
  const known = codeByMessage(message) ?? codeBySqlState(record.sqlState);
  const isServer = backendType === undefined ? known !== undefined && known !== 'stopped' : serverItself.has(backendType);
  if (!isServer && severity !== 'PANIC') return undefined;
  return { code: known ?? 'other', message, detail };
}

/** One sentence on the reason, with PostgreSQL's words. */
export function describeFatal({ code, message, detail }: RecoveryFatal): string {
  return `${recoveryFatals[code].meaning} PostgreSQL says: ${message}${detail === undefined ? '' : ` (${detail})`}.`;
}

function codeByMessage(message: string): RecoveryFatalCode | undefined {
  return entries.find(([, { messages }]) => messages.some((pattern) => pattern.test(message)))?.[0];
}

function codeBySqlState(sqlState: string | undefined): RecoveryFatalCode | undefined {
  if (sqlState === undefined) return undefined;
  return entries.find(([, { sqlStates = [] }]) => sqlStates.includes(sqlState))?.[0];
}
