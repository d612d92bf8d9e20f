/**
 * A non-exclusive low-level base backup (manual, section 26.3.3 "Making a Base Backup Using the Low Level API"). It lives in one session: when
 * that ends before `stop`, the server forgets the backup, and what was copied is worthless.
 */
import { majorOf } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, parseInstant } from '../domain/instant.ts';
import { parseLsn } from '../domain/lsn.ts';
import { segmentNumberAt, type TimelineId, walSegmentName, type WalSegmentName } from '../domain/wal-segment.ts';
import { connectServer, type ConnectOptions, type ServerConnection } from './connection.ts';
import { instantSql, readServerFacts, type ServerFacts } from './server-facts.ts';

/** A backup that is running on the server. */
export interface BackupSession extends AsyncDisposable {
  /** As they were just before the backup began. */
  readonly facts: ServerFacts;
  /** Where replay will begin, `0/5000028`. */
  readonly startLsn: string;
  readonly timeline: TimelineId;
  /** The segment that holds `startLsn`. */
  readonly startSegment: WalSegmentName;
  /** By the source's clock, before the backup began. */
  readonly startTime: Instant;
  /**
   * Ends the backup without waiting for the archive, which the caller checks itself. Once only.
   * @throws WalkbackError BACKUP_FAILED when the session is gone
   */
  stop(): Promise<StoppedBackup>;
  /** Does the server still answer on the session? */
  isAlive(): Promise<boolean>;
  /** Ends the session; before `stop` that abandons the backup. Safe to call again. */
  close(): Promise<void>;
}

/** What the server gives at the end. */
export interface StoppedBackup {
  /** Where the backup is consistent. */
  readonly finishLsn: string;
  /** By the source's clock, after the end: a target has to lie after it. */
  readonly finishTime: Instant;
  /** Content of backup_label, byte for byte. */
  readonly labelFile: string;
  /** Content of tablespace_map; empty without tablespaces. */
  readonly tablespaceMap: string;
}

/** Choices of a backup. */
export interface BackupSessionOptions {
  readonly label: string;
  /** Checkpoint at once instead of spread over checkpoint_completion_target. */
  readonly fast: boolean;
}

/** A spread checkpoint takes most of checkpoint_timeout, whose maximum is a day; half an hour covers usual settings. */
const backupStatementTimeoutMs = 30 * 60_000;

/** pg_backup_start and pg_backup_stop came with 15; before, the names and arguments were others (release notes 15). */
const functionsOfMajor = (major: number) =>
  major >= 15
    ? { start: 'pg_backup_start(label => $1, fast => $2)', stop: 'pg_backup_stop(wait_for_archive => false)' }
    : { start: 'pg_start_backup($1, $2, false)', stop: 'pg_stop_backup(false, false)' };

/**
 * Begins a backup on a session of its own.
 * @throws WalkbackError POSTGRES_UNREACHABLE, POSTGRES_ACCESS_DENIED, BACKUP_FAILED
 */
export async function startBackupSession(connectOptions: ConnectOptions, options: BackupSessionOptions): Promise<BackupSession> {
  const connection = await connectServer({ statementTimeoutMs: backupStatementTimeoutMs, ...connectOptions });
  try {
    return await beginBackup(connection, options);
  } catch (error) {
    await connection[Symbol.asyncDispose]();
    throw error;
  }
}

async function beginBackup(connection: ServerConnection, options: BackupSessionOptions): Promise<BackupSession> {
  const facts = await readServerFacts(connection);
  const functions = functionsOfMajor(majorOf(facts.serverVersionNum));
  const startLsn = await startBackup(connection, functions.start, options);
  const timeline = await timelineOfCheckpoint(connection);
  const number = segmentNumberAt(parseLsn(startLsn), facts.walSegmentBytes);
  const close = async () => connection[Symbol.asyncDispose]();
  return {
    facts,
    startLsn,
    timeline,
    startSegment: walSegmentName({ timeline, number }, facts.walSegmentBytes),
    startTime: facts.now,
    stop: () => stopBackup(connection, functions.stop),
    isAlive: () => answers(connection),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function startBackup(connection: ServerConnection, call: string, options: BackupSessionOptions): Promise<string> {
  try {
    const [row] = await connection.query<{ lsn: string }>(`SELECT ${call}::text AS lsn`, [options.label, options.fast]);
    if (row === undefined) throw new TypeError('pg_backup_start gave no row');
    return row.lsn;
  } catch (cause) {
    throw backupFailed('The base backup could not begin', cause);
  }
}

/** The backup has just made a checkpoint, so this is the timeline on which it begins, also on a standby. */
async function timelineOfCheckpoint(connection: ServerConnection): Promise<TimelineId> {
  const [row] = await connection.query<{ timeline: number }>('SELECT timeline_id AS timeline FROM pg_control_checkpoint()');
  if (row === undefined) throw new TypeError('pg_control_checkpoint gave no row');
  return row.timeline;
}

async function answers(connection: ServerConnection): Promise<boolean> {
  try {
    await connection.query('SELECT 1');
    return true;
  } catch (error) {
    // That is the question.
    if (error instanceof WalkbackError) return false;
    throw error;
  }
}

async function stopBackup(connection: ServerConnection, call: string): Promise<StoppedBackup> {
  try {
    const [stopped] = await connection.query<{ lsn: string; labelfile: string; spcmapfile: string | null }>(
      `SELECT lsn::text, labelfile, spcmapfile FROM ${call}`,
    );
    const [clock] = await connection.query<{ now: string }>(`SELECT ${instantSql('clock_timestamp()')} AS now`);
    if (stopped === undefined || clock === undefined) throw new TypeError('pg_backup_stop gave no row');
    return {
      finishLsn: stopped.lsn,
      finishTime: parseInstant(clock.now),
      labelFile: stopped.labelfile,
      tablespaceMap: stopped.spcmapfile ?? '',
    };
  } catch (cause) {
    throw backupFailed('The base backup could not be ended', cause);
  }
}

/** An aborted signal is the caller's own doing and passes through. */
function backupFailed(what: string, cause: unknown): unknown {
  if (!(cause instanceof WalkbackError)) return cause;
  return new WalkbackError('BACKUP_FAILED', `${what}: ${cause.message}`, { facts: cause.facts, cause });
}
