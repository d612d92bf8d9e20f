/** Where recovery has to stop (PostgreSQL manual, section 20.5.6, "Recovery Target"). */
import { WalkbackError } from './errors.ts';
import { formatInstant, type Instant, instantOf, microsecondsOf, parseInstant } from './instant.ts';
import { formatLsn, parseLsn } from './lsn.ts';
import type { TimelineId } from './wal-segment.ts';

/**
 * - `time`: every commit up to the instant, none after it.
 * - `lsn`: every record up to the one that starts at the position or first after it.
 * - `xid`: up to the end of that transaction; transactions end in another order than their ids.
 * - `name`: a restore point made by pg_create_restore_point.
 * - `immediate`: as soon as the base backup is consistent.
 * - `latest`: all WAL the archive holds when the restore is planned.
 *
 * `inclusive` (default true): false leaves out the commit exactly at the instant, the record at the position, or the transaction itself.
 */
export type RecoveryTarget =
  | { readonly kind: 'time'; readonly time: Instant; readonly inclusive?: boolean }
  | { readonly kind: 'lsn'; readonly lsn: string; readonly inclusive?: boolean }
  | { readonly kind: 'xid'; readonly xid: string; readonly inclusive?: boolean }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'immediate' }
  | { readonly kind: 'latest' };

/**
 * Which way to go where timelines fork: the newest that the archive knows, the one on which the base backup was taken, or one by its number
 * (manual, recovery_target_timeline).
 */
export type TargetTimeline = 'latest' | 'current' | TimelineId;

const xidPattern = /^[1-9]\d{0,18}$/;
/** Ids below are those of bootstrap and frozen rows (src/include/access/transam.h, FirstNormalTransactionId). */
const firstNormalXid = 3n;
const epochXids = 0x1_0000_0000n;
/** src/include/access/xlog_internal.h, MAXFNAMELEN, less its terminating zero. */
const restorePointNameMaximumBytes = 63;
const agoPattern = /^(\d{1,6}) *(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?) ago$/;
const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads what a person types after `--to`: an instant, `now`, `5 minutes ago`, `latest`, `immediate`, `lsn:0/5000028`, `xid:734`, `name:before-drop`.
 * @param options.now what `now` and `ago` are counted from; default the clock
 * @param options.inclusive of the target; default as PostgreSQL's, true
 * @throws WalkbackError INVALID_INSTANT, INVALID_REQUEST
 */
export function parseRecoveryTarget(text: string, options: { readonly now?: Date; readonly inclusive?: boolean } = {}): RecoveryTarget {
  const trimmed = text.trim();
  const target = wordTarget(trimmed) ?? prefixedTarget(trimmed) ?? { kind: 'time', time: instantIn(trimmed, options.now ?? new Date()) };
  if (options.inclusive === undefined) return completeTarget(target);
  if (target.kind === 'time' || target.kind === 'lsn' || target.kind === 'xid')
    return completeTarget({ ...target, inclusive: options.inclusive });
  throw stopsAtOnePlace(target);
}

/**
 * Checks a target and brings it into its canonical form.
 * @throws WalkbackError INVALID_REQUEST naming what cannot be, INVALID_INSTANT
 */
export function completeTarget(target: RecoveryTarget): RecoveryTarget {
  const inclusive = 'inclusive' in target && target.inclusive === false ? { inclusive: false } : {};
  switch (target.kind) {
    case 'time':
      return { kind: 'time', time: parseInstant(target.time), ...inclusive };
    case 'lsn':
      return { kind: 'lsn', lsn: formatLsn(parseLsn(target.lsn)), ...inclusive };
    case 'xid':
      return { kind: 'xid', xid: checkedXid(target.xid), ...inclusive };
    case 'name':
      assertStopsAtOnePlace(target);
      return { kind: 'name', name: checkedRestorePointName(target.name) };
    case 'immediate':
    case 'latest':
      assertStopsAtOnePlace(target);
      return { kind: target.kind };
  }
}

/** The name of a restore point. @throws WalkbackError INVALID_REQUEST when PostgreSQL would not take it or would cut it */
export function checkedRestorePointName(name: string): string {
  const sizeBytes = new TextEncoder().encode(name).length;
  if (sizeBytes >= 1 && sizeBytes <= restorePointNameMaximumBytes && !/\p{Cc}/u.test(name)) return name;
  throw new WalkbackError(
    'INVALID_REQUEST',
    `The name of a restore point has 1 to ${restorePointNameMaximumBytes} bytes and no control characters; "${name.slice(0, 80)}" has ${sizeBytes} bytes.`,
  );
}

/** For people and logs. */
export function describeTarget(target: RecoveryTarget): string {
  const excluded = 'inclusive' in target && target.inclusive === false ? ', itself left out' : '';
  switch (target.kind) {
    case 'time':
      return `${formatInstant(target.time)}${excluded}`;
    case 'lsn':
      return `position ${target.lsn}${excluded}`;
    case 'xid':
      return `transaction ${target.xid}${excluded}`;
    case 'name':
      return `the restore point "${target.name}"`;
    case 'immediate':
      return 'the end of the base backup';
    case 'latest':
      return 'the end of the archived WAL';
  }
}

/** Refuses a target that has not passed. @throws WalkbackError TARGET_IN_FUTURE */
export function assertTargetHasPassed(target: RecoveryTarget, now: Instant): void {
  if (target.kind !== 'time' || microsecondsOf(target.time) <= microsecondsOf(now)) return;
  throw new WalkbackError('TARGET_IN_FUTURE', `The target ${formatInstant(target.time)} is after now, ${formatInstant(now)}.`, {
    facts: { target: target.time, now },
  });
}

/** The id as a server counts it within an epoch, which is what its log prints: ids of 64 bits are accepted too. */
export function xidWithinEpoch(xid: string): string {
  return (BigInt(xid) % epochXids).toString();
}

/**
 * A commit's time is read just before its record is inserted, so the WAL has to be closed this much after the target to hold every commit
 * that is stamped up to it.
 */
export const commitStampMarginMs = 1000;

function wordTarget(text: string): RecoveryTarget | undefined {
  return text === 'latest' || text === 'immediate' ? { kind: text } : undefined;
}

function prefixedTarget(text: string): RecoveryTarget | undefined {
  const [, prefix, value = ''] = /^(lsn|xid|name):(.*)$/s.exec(text) ?? [];
  if (prefix === 'lsn') return { kind: 'lsn', lsn: value.trim() };
  if (prefix === 'xid') return { kind: 'xid', xid: value.trim() };
  return prefix === 'name' ? { kind: 'name', name: value } : undefined;
}

function instantIn(text: string, now: Date): Instant {
  if (text === 'now') return instantOf(now);
  const [, count, unit = ''] = agoPattern.exec(text) ?? [];
  if (count === undefined) return parseInstant(text);
  return instantOf(new Date(now.getTime() - Number(count) * (unitMs[unit.slice(0, 1)] ?? 0)));
}

function checkedXid(xid: string): string {
  if (typeof xid === 'string' && xidPattern.test(xid) && BigInt(xid) % epochXids >= firstNormalXid) return xid;
  throw new WalkbackError('INVALID_REQUEST', `"${xid}" is not the id of a transaction: a decimal number, from 3 on.`);
}

function assertStopsAtOnePlace(target: RecoveryTarget): void {
  if ('inclusive' in target && target.inclusive !== undefined) throw stopsAtOnePlace(target);
}

function stopsAtOnePlace(target: RecoveryTarget): WalkbackError {
  return new WalkbackError(
    'INVALID_REQUEST',
    `Inclusive or exclusive goes with a time, a position or a transaction, not with ${describeTarget(target)}.`,
  );
}
