/**
 * Names of files in pg_wal and in the archive (PostgreSQL: src/include/access/xlog_internal.h).
 * A segment is named by timeline and number: `%08X%08X%08X` of timeline, number / (2^32 / size), number % (2^32 / size).
 */
import { WalkbackError } from './errors.ts';
import { type Lsn, lsn } from './lsn.ts';

/** 24 upper-case hexadecimal digits. */
export type WalSegmentName = string & { readonly __brand: 'WalSegmentName' };

/** A timeline's number, from 1. */
export type TimelineId = number;

/** PostgreSQL's default size of a segment: 16 MiB; initdb allows powers of two from 1 MiB to 1 GiB. */
export const defaultWalSegmentBytes = 16 * 1024 * 1024;

/** What a file in pg_wal or the archive is, by its name. */
export type WalFileKind = 'segment' | 'partial' | 'history' | 'backup-history';

/** A segment taken apart. */
export interface WalSegment {
  readonly timeline: TimelineId;
  /** Number of the segment from the beginning of the WAL. */
  readonly number: bigint;
}

/** Behind the name of a timeline's last segment, when it is archived without being whole (xlog.c, XLogArchiveNotify of the old timeline). */
export const partialSuffix = '.partial';

const segmentPattern = /^[0-9A-F]{24}$/;
const kindPatterns: readonly (readonly [WalFileKind, RegExp])[] = [
  ['segment', segmentPattern],
  ['partial', /^[0-9A-F]{24}\.partial$/],
  ['history', /^[0-9A-F]{8}\.history$/],
  ['backup-history', /^[0-9A-F]{24}\.[0-9A-F]{8}\.backup$/],
];

/** What the name says the file is; undefined for a name that PostgreSQL never archives. */
export function walFileKind(name: string): WalFileKind | undefined {
  return kindPatterns.find(([, pattern]) => pattern.test(name))?.[0];
}

/** Is it the name of a whole segment? */
export function isWalSegmentName(name: string): name is WalSegmentName {
  return segmentPattern.test(name);
}

/** The timeline in a segment's name, whatever the size of its segments. */
export function timelineOf(name: WalSegmentName): TimelineId {
  return Number.parseInt(name.slice(0, 8), 16);
}

/** Takes a segment's name apart. @throws WalkbackError INVALID_REQUEST */
export function parseWalSegmentName(name: string, segmentBytes: number = defaultWalSegmentBytes): WalSegment {
  if (!isWalSegmentName(name)) throw new WalkbackError('INVALID_REQUEST', `"${name}" is not the name of a WAL segment.`);
  const perId = 0x1_0000_0000n / BigInt(segmentBytes);
  const [timeline, high, low] = [name.slice(0, 8), name.slice(8, 16), name.slice(16)].map((part) => BigInt(`0x${part}`)) as [
    bigint,
    bigint,
    bigint,
  ];
  return { timeline: Number(timeline), number: high * perId + low };
}

/** Writes a segment's name. */
export function walSegmentName(segment: WalSegment, segmentBytes: number = defaultWalSegmentBytes): WalSegmentName {
  const perId = 0x1_0000_0000n / BigInt(segmentBytes);
  const parts = [BigInt(segment.timeline), segment.number / perId, segment.number % perId];
  return parts.map((part) => part.toString(16).toUpperCase().padStart(8, '0')).join('') as WalSegmentName;
}

/** Number of the segment that holds the byte at the position. */
export function segmentNumberAt(position: Lsn, segmentBytes: number = defaultWalSegmentBytes): bigint {
  return position / BigInt(segmentBytes);
}

/** Number of the segment that holds the last byte before the position: where WAL that ends there lies. */
export function segmentNumberBefore(position: Lsn, segmentBytes: number = defaultWalSegmentBytes): bigint {
  return (position === 0n ? 0n : position - 1n) / BigInt(segmentBytes);
}

/** Position of a segment's first byte. */
export function segmentStart(number: bigint, segmentBytes: number = defaultWalSegmentBytes): Lsn {
  return lsn(number * BigInt(segmentBytes));
}

/** Name of the file that PostgreSQL writes about a backup when it has ended, `000000010000000000000005.00000028.backup`. */
export function backupHistoryFileName(segment: WalSegmentName, offsetBytes: number): string {
  return `${segment}.${offsetBytes.toString(16).toUpperCase().padStart(8, '0')}.backup`;
}

/** Name of a timeline's history file, `00000002.history`. */
export function historyFileName(timeline: TimelineId): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
}
