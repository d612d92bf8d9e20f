/**
 * What PostgreSQL's log says about a recovery. The texts are those of src/backend/access/transam/xlogrecovery.c and xlog.c (14 to 18) with
 * lc_messages C; a landing is classified by them, never by the exit code of pg_ctl, which proves nothing (postgres-recovery.md, M5).
 */
import { type Instant, parseInstant } from './instant.ts';
import { type RecoveryFatal, recoveryFatalOf } from './recovery-fatal.ts';
import { isWalSegmentName, type TimelineId, type WalSegmentName } from './wal-segment.ts';

/** One record of the server's log, whatever its format. */
export interface LogRecord {
  /** When it was written, by the server's clock; undefined where the line has no time in UTC. */
  readonly time: Instant | undefined;
  readonly pid: number | undefined;
  /** LOG, WARNING, FATAL, … */
  readonly severity: string;
  readonly sqlState: string | undefined;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** `startup`, `postmaster`, `client backend`, …; undefined in plain text. */
  readonly backendType: string | undefined;
}

/** Why replay stopped at its target. `before` a transaction: that one is left out; `after`: it is the last one kept. */
export type RecoveryStop =
  | {
      readonly kind: 'before' | 'after';
      readonly record: 'commit' | 'abort';
      readonly xid: string;
      readonly time: Instant | undefined;
    }
  | { readonly kind: 'before-lsn' | 'after-lsn'; readonly lsn: string }
  | { readonly kind: 'restore-point'; readonly name: string; readonly time: Instant | undefined }
  | { readonly kind: 'consistency' };

/** A setting that is lower than it was on the source. */
export interface InsufficientSetting {
  readonly name: string;
  readonly value: number;
  readonly needed: number;
}

/** One fact of a recovery. */
export type RecoveryEvent =
  | { readonly kind: 'server-started' }
  | { readonly kind: 'redo-started'; readonly lsn: string }
  | { readonly kind: 'consistent'; readonly lsn: string }
  | { readonly kind: 'wal-file-restored'; readonly file: string }
  | { readonly kind: 'stopping'; readonly stop: RecoveryStop }
  | { readonly kind: 'paused' }
  | { readonly kind: 'insufficient-setting'; readonly setting: InsufficientSetting }
  | { readonly kind: 'redo-done'; readonly lsn: string }
  | { readonly kind: 'last-completed-transaction'; readonly time: Instant }
  | { readonly kind: 'new-timeline'; readonly timeline: TimelineId }
  | { readonly kind: 'archive-recovery-complete' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'fatal'; readonly fatal: RecoveryFatal };

/** A recovery as its log tells it; JSON-safe. */
export interface RecoverySummary {
  readonly redoStartLsn: string | undefined;
  readonly consistentAt: string | undefined;
  readonly stop: RecoveryStop | undefined;
  /** Time of the last commit or abort that was replayed, by the source's clock. */
  readonly lastCompletedTransactionTime: Instant | undefined;
  /** Where replay ended. */
  readonly endLsn: string | undefined;
  readonly newTimeline: TimelineId | undefined;
  /** Replay waits: at its target, or because a setting is too low. */
  readonly paused: boolean;
  readonly insufficientSetting: InsufficientSetting | undefined;
  /** "archive recovery complete": the server has left recovery. */
  readonly complete: boolean;
  /** "ready to accept connections", for writing too. */
  readonly ready: boolean;
  readonly fatal: RecoveryFatal | undefined;
  /** "recovery ended before configured recovery target was reached". */
  readonly endedBeforeTarget: boolean;
  /** Segments that PostgreSQL asked for and got; one that it read twice in a row counts once. */
  readonly segmentsRestored: number;
  readonly lastSegmentRestored: WalSegmentName | undefined;
}

/** Nothing known yet. */
export const emptyRecoverySummary: RecoverySummary = {
  redoStartLsn: undefined,
  consistentAt: undefined,
  stop: undefined,
  lastCompletedTransactionTime: undefined,
  endLsn: undefined,
  newTimeline: undefined,
  paused: false,
  insufficientSetting: undefined,
  complete: false,
  ready: false,
  fatal: undefined,
  endedBeforeTarget: false,
  segmentsRestored: 0,
  lastSegmentRestored: undefined,
};

/**
 * Sums up log records of one start of a server; when it took several tries, of the last.
 * @param before the summary of the records before these, for a log that is read piece by piece; default none
 */
export function summarizeRecovery(records: Iterable<LogRecord>, before: RecoverySummary = emptyRecoverySummary): RecoverySummary {
  let summary = before;
  for (const record of records) {
    const event = recoveryEventOf(record);
    if (event !== undefined) summary = { ...summary, ...changeBy(event, summary) };
  }
  return summary;
}

/** What one record means for recovery; undefined when nothing. */
export function recoveryEventOf(record: LogRecord): RecoveryEvent | undefined {
  const fatal = recoveryFatalOf(record);
  if (fatal !== undefined) return { kind: 'fatal', fatal };
  if (record.severity === 'FATAL' || record.severity === 'PANIC') return undefined;
  if (record.message.startsWith('hot standby is not possible because of insufficient parameter settings')) {
    const setting = insufficientSettingIn(record.detail);
    return setting === undefined ? undefined : { kind: 'insufficient-setting', setting };
  }
  return eventOfMessage(record.message);
}

/** Reads the DETAIL of "insufficient parameter settings". */
export function insufficientSettingIn(detail: string | undefined): InsufficientSetting | undefined {
  const match = /^(\w+) = (\d+) is a lower setting than on the primary server, where its value was (\d+)/.exec(detail ?? '');
  const [, name, value, needed] = match ?? [];
  return name === undefined ? undefined : { name, value: Number(value), needed: Number(needed) };
}

type EventReader = (groups: readonly string[]) => RecoveryEvent | undefined;

const lsnPattern = '([0-9A-F]+/[0-9A-F]+)';

const eventReaders: readonly (readonly [RegExp, EventReader])[] = [
  [/^starting PostgreSQL /, () => ({ kind: 'server-started' })],
  [/^restored log file "([^"]+)" from archive/, ([file = '']) => ({ kind: 'wal-file-restored', file })],
  [new RegExp(`^redo starts at ${lsnPattern}`), ([lsn = '']) => ({ kind: 'redo-started', lsn })],
  [new RegExp(`^consistent recovery state reached at ${lsnPattern}`), ([lsn = '']) => ({ kind: 'consistent', lsn })],
  [/^recovery stopping (.+)$/s, ([how = '']) => stoppingEvent(how)],
  [/^(?:recovery has paused|pausing at the end of recovery)/, () => ({ kind: 'paused' })],
  [new RegExp(`^redo done at ${lsnPattern}`), ([lsn = '']) => ({ kind: 'redo-done', lsn })],
  [/^last completed transaction was at log time (.+)$/, ([time = '']) => lastTransactionEvent(time)],
  [/^selected new timeline ID: (\d+)/, ([timeline = '']) => ({ kind: 'new-timeline', timeline: Number(timeline) })],
  [/^archive recovery complete/, () => ({ kind: 'archive-recovery-complete' })],
  [/^database system is ready to accept connections/, () => ({ kind: 'ready' })],
];

function eventOfMessage(message: string): RecoveryEvent | undefined {
  for (const [pattern, read] of eventReaders) {
    const match = pattern.exec(message);
    if (match !== null) return read(match.slice(1));
  }
  return undefined;
}

function lastTransactionEvent(text: string): RecoveryEvent | undefined {
  const time = instantIn(text);
  return time === undefined ? undefined : { kind: 'last-completed-transaction', time };
}

function stoppingEvent(how: string): RecoveryEvent | undefined {
  const stop = stopAtTransaction(how) ?? stopElsewhere(how);
  return stop === undefined ? undefined : { kind: 'stopping', stop };
}

function stopAtTransaction(how: string): RecoveryStop | undefined {
  const match = /^(before|after) (commit|abort) of transaction (\d+), time (.+)$/.exec(how);
  const [, side, record, xid = '', time = ''] = match ?? [];
  if (side === undefined || record === undefined) return undefined;
  return {
    kind: side === 'before' ? 'before' : 'after',
    record: record === 'commit' ? 'commit' : 'abort',
    xid,
    time: instantIn(time),
  };
}

function stopElsewhere(how: string): RecoveryStop | undefined {
  if (how.startsWith('after reaching consistency')) return { kind: 'consistency' };
  const [, side, lsn] = /^(before|after) WAL location \(LSN\) "([0-9A-F]+\/[0-9A-F]+)"/.exec(how) ?? [];
  if (lsn !== undefined) return { kind: side === 'before' ? 'before-lsn' : 'after-lsn', lsn };
  const [, name, time = ''] = /^at restore point "(.*)", time (.+)$/s.exec(how) ?? [];
  return name === undefined ? undefined : { kind: 'restore-point', name, time: instantIn(time) };
}

/** PostgreSQL prints these times in ISO form with a numeric offset; anything else is not worth a guess. */
function instantIn(text: string): Instant | undefined {
  try {
    return parseInstant(text);
  } catch {
    // A time that cannot be read is unknown; the event itself still counts.
    return undefined;
  }
}

function changeBy(event: RecoveryEvent, summary: RecoverySummary): Partial<RecoverySummary> {
  switch (event.kind) {
    // What an earlier try to start left in the log is past: a lock file of a killed server, say.
    case 'server-started':
      return emptyRecoverySummary;
    case 'redo-started':
      return { redoStartLsn: event.lsn };
    case 'consistent':
      return { consistentAt: event.lsn };
    case 'wal-file-restored':
      return segmentChange(event.file, summary);
    case 'stopping':
      return { stop: event.stop };
    case 'paused':
      return { paused: true };
    case 'insufficient-setting':
      return { insufficientSetting: event.setting };
    case 'redo-done':
      return { endLsn: event.lsn, paused: false };
    case 'last-completed-transaction':
      return { lastCompletedTransactionTime: event.time };
    case 'new-timeline':
      return { newTimeline: event.timeline };
    case 'archive-recovery-complete':
      return { complete: true };
    case 'ready':
      return { ready: true };
    case 'fatal':
      return fatalChange(event.fatal, summary);
  }
}

/** Segments come in rising order but for the first two (checkpoint, then redo), and the last one is read again at the end of recovery. */
function segmentChange(file: string, summary: RecoverySummary): Partial<RecoverySummary> {
  if (!isWalSegmentName(file) || file === summary.lastSegmentRestored) return {};
  return { segmentsRestored: summary.segmentsRestored + 1, lastSegmentRestored: file };
}

/** The first FATAL is the cause; later ones are its consequences. */
function fatalChange(fatal: RecoveryFatal, summary: RecoverySummary): Partial<RecoverySummary> {
  if (summary.fatal !== undefined) return {};
  return { fatal, endedBeforeTarget: fatal.code === 'ended-before-target' };
}
