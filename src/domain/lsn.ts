/** Positions in the write-ahead log, as PostgreSQL's type pg_lsn (manual, section 8.20). */
import { WalkbackError } from './errors.ts';

/** A byte position in the WAL: an unsigned 64-bit number. */
export type Lsn = bigint & { readonly __brand: 'Lsn' };

const lsnPattern = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;
const lsnMaximum = 2n ** 64n - 1n;

/** Makes an Lsn of a number that is one already. @throws RangeError outside 0 … 2^64-1 */
export function lsn(value: bigint): Lsn {
  if (value < 0n || value > lsnMaximum) throw new RangeError(`${value} is not a WAL position: it must be between 0 and 2^64-1`);
  return value as Lsn;
}

/** Reads PostgreSQL's form, `0/3000028`. @throws WalkbackError INVALID_REQUEST */
export function parseLsn(text: string): Lsn {
  const match = lsnPattern.exec(text);
  if (match === null) {
    throw new WalkbackError('INVALID_REQUEST', `"${text}" is not a WAL position (LSN).`, {
      hint: 'Write it as PostgreSQL does, for example 0/3000028.',
    });
  }
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

/** Writes PostgreSQL's form: two upper-case hexadecimal halves without leading zeros. */
export function formatLsn(value: Lsn): string {
  return `${(value >> 32n).toString(16).toUpperCase()}/${(value & 0xffff_ffffn).toString(16).toUpperCase()}`;
}
