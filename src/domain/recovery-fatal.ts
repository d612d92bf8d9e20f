/** Why PostgreSQL gave up during start or recovery, by its FATAL messages (src/backend/access/transam/xlogrecovery.c, postmaster.c). */

/** What stopped the server. */
export type RecoveryFatalCode =
  | 'ended-before-target'
  | 'insufficient-settings'
  | 'restore-command-failed'
  | 'checkpoint-record-missing'
  | 'redo-location-missing'
  | 'wal-ends-before-consistency'
  | 'target-before-consistency'
  | 'wrong-timeline'
  | 'wal-level-minimal'
  | 'incompatible-major'
  | 'library-missing'
  | 'configuration-invalid'
  | 'address-in-use'
  | 'disk-full'
  | 'data-damaged'
  | 'stopped'
  | 'other';

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

const codeOfMessage: readonly (readonly [RegExp, RecoveryFatalCode])[] = [
  [/^recovery ended before configured recovery target was reached/, 'ended-before-target'],
  [/^recovery aborted because of insufficient parameter settings/, 'insufficient-settings'],
  [/^could not restore file ".*" from archive/, 'restore-command-failed'],
  [/^could not (?:locate|find) (?:a valid|required) checkpoint record|^invalid checkpoint record/, 'checkpoint-record-missing'],
  [/^could not find redo location/, 'redo-location-missing'],
  [/^WAL ends before (?:consistent recovery point|end of online backup)/, 'wal-ends-before-consistency'],
  [/^requested recovery stop point is before consistent recovery point/, 'target-before-consistency'],
  [/^requested timeline \d+ |^recovery target timeline \d+ does not exist|^unexpected timeline ID/, 'wrong-timeline'],
  [/^WAL was generated with "?wal_level=minimal/, 'wal-level-minimal'],
  [/^database files are incompatible with server/, 'incompatible-major'],
  [/^could not (?:access file|load library)/, 'library-missing'],
  [
    /^configuration file ".*" contains errors|^could not load .*pg_hba|^invalid value for parameter|recovery targets specified/,
    'configuration-invalid',
  ],
  [/^lock file ".*" already exists|^could not create any (?:TCP\/IP|Unix-domain) sockets|^could not create lock file/, 'address-in-use'],
  [/^pre-existing shared memory block/, 'address-in-use'],
  [/^terminating connection due to administrator command/, 'stopped'],
];

const codeOfSqlState: Readonly<Record<string, RecoveryFatalCode>> = {
  '53100': 'disk-full',
  XX001: 'data-damaged',
  XX002: 'data-damaged',
  F0000: 'configuration-invalid',
  '57P01': 'stopped',
};

const serverItself: ReadonlySet<string> = new Set(['startup', 'postmaster']);

/** Classifies a FATAL or PANIC record; undefined when it only concerns one client's session ("the database system is starting up"). */
export function recoveryFatalOf(record: FatalRecord): RecoveryFatal | undefined {
  const text = codeOfMessage.find(([pattern]) => pattern.test(record.message))?.[1];
  const known = text ?? codeOfSqlState[record.sqlState ?? ''] ?? (/No space left on device/.test(record.message) ? 'disk-full' : undefined);
  const isServer = record.backendType === undefined ? known !== undefined && known !== 'stopped' : serverItself.has(record.backendType);
  if (!isServer && record.severity !== 'PANIC') return undefined;
  return { code: known ?? 'other', message: record.message, detail: record.detail };
}
