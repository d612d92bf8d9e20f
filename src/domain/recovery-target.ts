/** Where recovery has to stop (PostgreSQL manual, section 20.5.6, "Recovery Target"). */
import { WalkbackError } from './errors.ts';
import { formatInstant, type Instant, microsecondsOf, parseInstant } from './instant.ts';

/** `time`: every commit up to and including the instant, none after. `latest`: all WAL the archive holds when the restore is planned. */
export type RecoveryTarget = { readonly kind: 'time'; readonly time: Instant } | { readonly kind: 'latest' };

/** Reads what a person types after `--to`: an instant, or `latest`. @throws WalkbackError INVALID_INSTANT */
export function parseRecoveryTarget(text: string): RecoveryTarget {
  return text.trim() === 'latest' ? { kind: 'latest' } : { kind: 'time', time: parseInstant(text) };
}

/** For people and logs. */
export function describeTarget(target: RecoveryTarget): string {
  return target.kind === 'time' ? formatInstant(target.time) : 'the end of the archived WAL';
}

/** Refuses a target that has not passed. @throws WalkbackError TARGET_IN_FUTURE */
export function assertTargetHasPassed(target: RecoveryTarget, now: Instant): void {
  if (target.kind !== 'time' || microsecondsOf(target.time) <= microsecondsOf(now)) return;
  throw new WalkbackError('TARGET_IN_FUTURE', `The target ${formatInstant(target.time)} is after now, ${formatInstant(now)}.`, {
    facts: { target: target.time, now },
  });
}

/**
 * A commit's time is read just before its record is inserted, so the WAL has to be closed this much after the target to hold every commit
 * that is stamped up to it.
 */
export const commitStampMarginMs = 1000;
