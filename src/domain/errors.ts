/**
 * The one error catalogue. An error's `code` is what callers branch on: it is the `type` of Temporal's ApplicationFailure, decides
 * whether a retry can help, and gives the CLI its exit code. docs/errors.md is generated from this file.
 */

/** What kind of trouble it is; decides the CLI's exit code (docs/exit-codes.md). */
export type ErrorCategory = 'input' | 'refused' | 'unavailable' | 'failed' | 'damaged';

/** One entry of the catalogue. */
export interface ErrorEntry {
  readonly category: ErrorCategory;
  /** Can the very same request succeed later without anybody changing anything? Decides Temporal's retries. */
  readonly retryable: boolean;
  /** What happened, in one sentence. */
  readonly title: string;
  /** What to do next. */
  readonly hint: string;
}

/** Exit code of the CLI for each category. */
export const exitCodeOfCategory: Readonly<Record<ErrorCategory, number>> = {
  failed: 1,
  input: 2,
  refused: 3,
  unavailable: 4,
  damaged: 5,
};

export const errorCatalogue = {
  // Bad input: refused before any work.
  INVALID_INSTANT: {
    category: 'input',
    retryable: false,
    title: 'The target time is not an instant.',
    hint: 'Give an offset or Z, for example 2026-11-22T11:57:00Z.',
  },
  INVALID_REQUEST: {
    category: 'input',
    retryable: false,
    title: 'The request does not have the right form.',
    hint: 'Correct the named fields and try again.',
  },
  INVALID_CONFIGURATION: {
    category: 'input',
    retryable: false,
    title: 'The configuration cannot be used.',
    hint: 'Correct the named option in walkback.yaml or the environment.',
  },
  UNKNOWN_CLUSTER: {
    category: 'input',
    retryable: false,
    title: 'No cluster of that name is configured.',
    hint: 'Check the name against `clusters:` in walkback.yaml.',
  },
  SECRET_UNREADABLE: {
    category: 'input',
    retryable: false,
    title: 'A secret could not be read where the request says it is.',
    hint: 'Check that the file exists on the database host, is readable by the agent, and by nobody else.',
  },
  RUNNING_AS_ROOT: {
    category: 'input',
    retryable: false,
    title: 'The agent must not run as root.',
    hint: 'Start it as the operating-system user that owns the PostgreSQL data directory, usually postgres.',
  },

  // Refused: well-formed, but the state of things does not allow it.
  TARGET_IN_FUTURE: {
    category: 'refused',
    retryable: false,
    title: 'The target lies in the future.',
    hint: 'Ask for an instant that has passed by the clock of the source.',
  },
  TARGET_UNREACHABLE: {
    category: 'refused',
    retryable: false,
    title: 'The target does not lie where the restore would go.',
    hint: 'Choose another target or timeline; the message names the two facts that do not go together.',
  },
  NO_BACKUP_BEFORE_TARGET: {
    category: 'refused',
    retryable: false,
    title: 'No usable base backup ended before the target.',
    hint: 'Choose a target after the first restorable instant, or another archive.',
  },
  NO_BACKUP: {
    category: 'refused',
    retryable: false,
    title: 'The archive holds no usable base backup.',
    hint: 'Take one with `walkback backup CLUSTER`.',
  },
  WAL_MISSING: {
    category: 'refused',
    retryable: false,
    title: 'WAL that the restore needs is not in the archive.',
    hint: 'Choose a target before the hole, or bring the missing segments into the archive.',
  },
  SOURCE_RUNNING: {
    category: 'refused',
    retryable: false,
    title: 'The source is to be dead, and runs.',
    hint: 'Restore with --source keep, which has the source close its WAL, or with --source stop.',
  },
  DATA_DIRECTORY_NOT_EMPTY: {
    category: 'refused',
    retryable: false,
    title: 'The data directory is not empty.',
    hint: 'Name a directory that does not exist yet or is empty; nothing is ever overwritten.',
  },
  DATA_DIRECTORY_IN_USE: {
    category: 'refused',
    retryable: false,
    title: 'Another restore or server owns the data directory.',
    hint: 'Wait for it, cancel it, or choose another directory.',
  },
  PORT_IN_USE: {
    category: 'refused',
    retryable: false,
    title: 'The port is taken on the host.',
    hint: 'Choose a free port.',
  },
  NAME_IN_USE: {
    category: 'refused',
    retryable: false,
    title: 'A cluster of that name exists already.',
    hint: 'Choose another name for the restored cluster.',
  },
  ARCHIVE_PREFIX_IN_USE: {
    category: 'refused',
    retryable: false,
    title: 'The archive prefix for the restored cluster holds a backup or WAL already.',
    hint: 'Choose another name or prefix; a restored cluster never writes into an archive that is in use.',
  },
  POSTGRES_NOT_FOUND: {
    category: 'refused',
    retryable: false,
    title: 'The PostgreSQL programs of the needed major version are not on the host.',
    hint: 'Install that major, or name its bin directory in walkback.yaml.',
  },
  ARCHIVE_FORMAT_UNSUPPORTED: {
    category: 'refused',
    retryable: false,
    title: 'The archive holds an object in a form that this version cannot read.',
    hint: 'Restore from another backup, or use the tool that wrote the object.',
  },
  ENCRYPTION_READ_ONLY: {
    category: 'refused',
    retryable: false,
    title: 'Objects can be read with the configured encryption, and not written.',
    hint: 'Set storage.encryption: `libsodium`, with a key, or `none`. Keys for reading stay in use beside it.',
  },
  DECRYPTION_FAILED: {
    category: 'refused',
    retryable: false,
    title: 'An object of the archive does not fit the configured keys.',
    hint: 'Configure the key that the archive was written with (storage.libsodium_key_file and its transform, or storage.pgp_key_file). When other objects can be read, this one is damaged at its beginning.',
  },
  LIBRARY_MISSING: {
    category: 'refused',
    retryable: false,
    title: 'A library that the source uses is not installed on the host.',
    hint: 'Install the packages of the named extensions for that PostgreSQL major, or restore with --allow-missing-libraries: what uses them then fails.',
  },
  NOT_ENOUGH_DISK: {
    category: 'refused',
    retryable: false,
    title: 'The file system has too little room for the restore.',
    hint: 'Free space or choose another directory.',
  },
  ARCHIVING_NOT_ENABLED: {
    category: 'refused',
    retryable: false,
    title: 'The server does not archive its WAL to this archive.',
    hint: 'Run `walkback enable CLUSTER`.',
  },
  RESTART_NEEDED: {
    category: 'refused',
    retryable: false,
    title: 'The change needs a restart of PostgreSQL, which was not allowed.',
    hint: 'Run the command again with --allow-restart at a time that suits.',
  },
  ALREADY_RUNNING: {
    category: 'refused',
    retryable: false,
    title: 'The same operation is running already.',
    hint: 'Follow it with `walkback status ID`.',
  },
  NOT_FOUND: {
    category: 'refused',
    retryable: false,
    title: 'There is no such thing.',
    hint: 'Check the name.',
  },
  NOT_PAUSED: {
    category: 'refused',
    retryable: false,
    title: 'The restore is not paused at its target.',
    hint: 'Only a restore that waits for a decision takes one: paused by --at-target pause, or asking by --on-early-end ask.',
  },
  ABORTED: {
    category: 'refused',
    retryable: false,
    title: 'Somebody, or a deadline that was set, decided to abort the restore.',
    hint: 'The reason is in the message; the data directory is kept.',
  },
  CLUSTER_RETIRED: {
    category: 'refused',
    retryable: false,
    title: 'The cluster was retired by a restore and is fenced.',
    hint: 'Bring it back with `walkback undo ID`, the id of that restore.',
  },
  NOT_RETIRED: {
    category: 'refused',
    retryable: false,
    title: 'There is nothing to undo: the restore retired no cluster.',
    hint: 'Only a restore with `--source stop --retire HOURS` can be undone; start the source by yourself otherwise.',
  },
  PRUNE_REFUSED: {
    category: 'refused',
    retryable: false,
    title: 'Retention would remove what is surely needed, or the archive does not look as it should.',
    hint: 'Look at the archive with `walkback verify CLUSTER`.',
  },
  BACKUP_NEEDED: {
    category: 'refused',
    retryable: false,
    title: 'Another base backup that is permanent is made from this one.',
    hint: 'Unmark the other one first.',
  },
  TARGET_NOT_PROVEN: {
    category: 'refused',
    retryable: false,
    title: 'Recovery ended before the target, and nothing proves that the archive is complete up to it.',
    hint: 'Bring the missing WAL into the archive and restore again, or choose a target before the last commit kept.',
  },

  // Unavailable: somebody or something does not answer.
  TEMPORAL_UNREACHABLE: {
    category: 'unavailable',
    retryable: true,
    title: 'Temporal does not answer.',
    hint: 'Check TEMPORAL_ADDRESS, and that the server is running.',
  },
  NO_WORKER: {
    category: 'unavailable',
    retryable: false,
    title: 'No walkback worker answers.',
    hint: 'Start one with `walkback worker`.',
  },
  NO_AGENT_ON_HOST: {
    category: 'unavailable',
    retryable: false,
    title: 'No walkback agent answers on the host.',
    hint: 'Start `walkback agent` there, with that host id in its configuration.',
  },
  POSTGRES_UNREACHABLE: {
    category: 'unavailable',
    retryable: true,
    title: 'PostgreSQL does not answer.',
    hint: 'Check that the server runs and that the agent may log in over its socket.',
  },
  POSTGRES_ACCESS_DENIED: {
    category: 'unavailable',
    retryable: false,
    title: 'PostgreSQL refuses the login.',
    hint: 'Check the role, its password and pg_hba.conf.',
  },
  STORAGE_UNREACHABLE: {
    category: 'unavailable',
    retryable: true,
    title: 'The object store does not answer as it should.',
    hint: 'Check the endpoint and the network; the operation goes on when the store answers.',
  },
  STORAGE_ACCESS_DENIED: {
    category: 'unavailable',
    retryable: false,
    title: 'The object store refuses the credentials.',
    hint: 'Check the access key, the secret key and the bucket policy.',
  },
  AGENT_UNREACHABLE: {
    category: 'unavailable',
    retryable: true,
    title: 'The agent does not answer on its socket.',
    hint: 'Start `walkback agent` on this host.',
  },
  WAL_NOT_ARCHIVED: {
    category: 'unavailable',
    retryable: true,
    title: 'A WAL segment has not arrived in the archive.',
    hint: 'Look at the agent and at pg_stat_archiver on the source.',
  },

  // Failed: it was tried and went wrong.
  POSTGRES_DID_NOT_START: {
    category: 'failed',
    retryable: false,
    title: 'PostgreSQL did not start.',
    hint: 'Read the lines of its log in the details.',
  },
  RECOVERY_FAILED: {
    category: 'failed',
    retryable: false,
    title: 'PostgreSQL stopped during recovery.',
    hint: 'Read the lines of its log in the details; the data directory is kept.',
  },
  LANDED_WRONG: {
    category: 'failed',
    retryable: false,
    title: 'Recovery did not land where it was asked to.',
    hint: 'The data directory is kept and must not be used; report this.',
  },
  BACKUP_FAILED: {
    category: 'failed',
    retryable: true,
    title: 'The base backup was interrupted.',
    hint: 'It is taken anew by the next attempt.',
  },
  ROLE_SWAP_FAILED: {
    category: 'failed',
    retryable: false,
    title: 'The roles of the restored cluster could not be replaced.',
    hint: 'The cluster stays closed to clients; read the cause.',
  },
  CHECK_FAILED: {
    category: 'failed',
    retryable: false,
    title: 'A check on the restored data gave another value than expected.',
    hint: 'The cluster stays closed to clients; look at the data, choose another target, or correct the check.',
  },
  STATEMENT_FAILED: {
    category: 'failed',
    retryable: false,
    title: 'PostgreSQL refused a statement.',
    hint: 'Read what PostgreSQL says about it.',
  },
  COMMAND_FAILED: {
    category: 'failed',
    retryable: false,
    title: 'A program failed.',
    hint: 'Read its output in the details.',
  },
  CANCELLED: {
    category: 'failed',
    retryable: false,
    title: 'The operation was cancelled.',
    hint: 'What was restored so far is kept and named; start again when ready.',
  },
  INTERNAL: {
    category: 'failed',
    retryable: true,
    title: 'Something happened that walkback does not expect.',
    hint: 'Report it with the details.',
  },

  // Damaged: bytes are not what they must be.
  OBJECT_DAMAGED: {
    category: 'damaged',
    retryable: false,
    title: 'An object in the archive is not what it should be.',
    hint: 'It is not used; restore from another backup, or bring a good copy back.',
  },
  ARCHIVE_DAMAGED: {
    category: 'damaged',
    retryable: false,
    title: 'The archive does not hold everything that its base backups need, or not as it was written.',
    hint: 'Read the findings of `walkback verify CLUSTER`; take a base backup, so that there is a whole one again.',
  },
  DATA_DIRECTORY_DAMAGED: {
    category: 'damaged',
    retryable: false,
    title: 'A file of the data directory is not what it should be.',
    hint: 'Do not start PostgreSQL on it; restore into another directory.',
  },
  WAL_CONFLICT: {
    category: 'damaged',
    retryable: false,
    title: 'The archive holds other content under the name of this WAL file.',
    hint: 'Two servers archive into one prefix: give one of them its own.',
  },
  WAL_REFUSED: {
    category: 'damaged',
    retryable: false,
    title: 'The file is not a WAL segment of this cluster.',
    hint: 'Check that archive_command of this server names the right cluster.',
  },
} as const satisfies Readonly<Record<string, ErrorEntry>>;

/** The stable name of an error. */
export type ErrorCode = keyof typeof errorCatalogue;

/** The values an error is about: JSON-safe, never a secret. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** What may be said beyond code and message. */
export interface WalkbackErrorOptions {
  readonly facts?: ErrorFacts;
  /** What to do next, when there is more to say than the catalogue's sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** The only error class of ours: what failed and with which values (`message`), a stable `code`, and what to do (`hint`). */
export class WalkbackError extends Error {
  override readonly name = 'WalkbackError';
  readonly code: ErrorCode;
  readonly hint: string;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, message: string, options: WalkbackErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint ?? errorCatalogue[code].hint;
    this.facts = options.facts ?? {};
  }

  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }

  get exitCode(): number {
    return exitCodeOfCategory[errorCatalogue[this.code].category];
  }
}

/** Is the text one of the catalogue's codes? */
export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(errorCatalogue, text);
}

/** A sentence about any thrown value, for messages that name their cause. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
