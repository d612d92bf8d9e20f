/**
 * Instants. A time without an offset means different moments to different readers, and recovery to the wrong one silently gives the
 * wrong data: so a bare time is refused, with both readings shown (design.md, section 4, rule 1).
 */
import { WalkbackError } from './errors.ts';

/** RFC 3339 in UTC with microseconds, `2026-11-22T11:57:00.000000Z`: sorts as text, fits PostgreSQL's resolution. */
export type Instant = string & { readonly __brand: 'Instant' };

const instantPattern = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(Z|z|[+-]\d{2}(?::?\d{2})?)$/;
/** Years of four digits, in UTC too: what sorts as text. */
const firstMs = Date.parse('0001-01-01T00:00:00Z');
const lastMs = Date.parse('9999-12-31T23:59:59Z');
const bareTimePattern = /^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?$/;

/**
 * Reads an instant: a date, a time and `Z` or an offset, as RFC 3339 or as PostgreSQL prints it (`2026-11-22 11:57:00.5+00`).
 * Digits beyond microseconds are cut.
 * @throws WalkbackError INVALID_INSTANT
 */
export function parseInstant(text: string): Instant {
  const trimmed = text.trim();
  const match = instantPattern.exec(trimmed);
  if (match === null) throw notAnInstant(trimmed);
  const [, year, month, day, hour, minute, second = '00', fraction = '', zone = 'Z'] = match;
  const wholeSeconds = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  const sameDay = !Number.isNaN(wholeSeconds) && new Date(wholeSeconds).toISOString().startsWith(`${year}-${month}-${day}`);
  const offsetMs = offsetMsOf(zone);
  const inUtc = wholeSeconds - (offsetMs ?? 0);
  if (!sameDay || offsetMs === undefined || inUtc < firstMs || inUtc > lastMs)
    throw new WalkbackError('INVALID_INSTANT', `"${trimmed}" is not a moment of the calendar.`);
  return render(inUtc, fraction);
}

/** The instant of a Date. */
export function instantOf(date: Date): Instant {
  return render(Math.floor(date.getTime() / 1000) * 1000, String(date.getUTCMilliseconds()).padStart(3, '0'));
}

/** Microseconds since 1970, for arithmetic and exact comparison. */
export function microsecondsOf(instant: Instant): bigint {
  return BigInt(Date.parse(`${instant.slice(0, 19)}Z`)) * 1000n + BigInt(instant.slice(20, 26));
}

/** The instant so many microseconds after 1970. */
export function instantOfMicroseconds(microseconds: bigint): Instant {
  const wholeSeconds = microseconds / 1_000_000n - (microseconds % 1_000_000n < 0n ? 1n : 0n);
  return render(Number(wholeSeconds) * 1000, String(microseconds - wholeSeconds * 1_000_000n).padStart(6, '0'));
}

/** As PostgreSQL takes it in recovery_target_time; it refuses the form with T and Z (measured, toolchain.md). */
export function toPostgresTimestamp(instant: Instant): string {
  return `${instant.slice(0, 10)} ${instant.slice(11, 26)}+00`;
}

/** For people: UTC without needless zeros, `2026-11-22 11:57:00 UTC`. */
export function formatInstant(instant: Instant): string {
  const fraction = instant.slice(19, 26).replace(/\.?0+$/, '');
  return `${instant.slice(0, 10)} ${instant.slice(11, 19)}${fraction} UTC`;
}

function render(wholeSecondsMs: number, fraction: string): Instant {
  return `${new Date(wholeSecondsMs).toISOString().slice(0, 19)}.${fraction.slice(0, 6).padEnd(6, '0')}Z` as Instant;
}

function offsetMsOf(zone: string): number | undefined {
  if (zone.toUpperCase() === 'Z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(3).replace(':', '') || '0');
  if (hours > 15 || minutes > 59) return undefined;
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function notAnInstant(text: string): WalkbackError {
  if (!bareTimePattern.test(text)) return new WalkbackError('INVALID_INSTANT', `"${text}" is not an instant.`);
  const clock = text.includes(':') ? text.replace(' ', 'T') : `${text}T00:00`;
  return new WalkbackError('INVALID_INSTANT', `"${text}" has no offset, so it is not one instant.`, {
    hint: `Say which is meant: ${clock}Z (UTC), or with your own offset, for example ${clock}+02:00.`,
  });
}
