/**
 * Commits in a WAL segment: what a window tells of "the last commit". Reads records as far as they are whole and chained
 * (PostgreSQL: access/xlogrecord.h, access/xlog_internal.h, access/xact.h; the same from 14 to 18).
 */
import { type Instant, instantOfMicroseconds } from '../domain/instant.ts';
import { type Lsn, lsn } from '../domain/lsn.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import {
  walContinuedFlag as continuedFlag,
  walLongPageHeaderBytes as longHeaderBytes,
  walPageBytes,
  walRecordHeaderBytes as recordHeaderBytes,
  walShortPageHeaderBytes as shortHeaderBytes,
} from './wal-page.ts';

/** Where the header says how long segments and pages are. */
const segmentBytesOffset = 32;
export const pageBytesOffset = 36;
/** xlp_info: the page is a segment's first. */
const longHeaderFlag = 0x0002;
const alignmentBytes = 8n;
/** Resource manager of transactions, and the part of xl_info that says what it did. */
const transactionManager = 1;
const operationMask = 0x70;
const commitPrepared = 0x30;
const commitOperations: ReadonlySet<number> = new Set([0x00, commitPrepared]);
/** Identifiers that may stand before the record's own data. */
const dataShort = 255;
const dataLong = 254;
const origin = 253;
const topLevelTransaction = 252;
/** As much of a record as is needed to find the time of a commit or a checkpoint. */
const headBytes = 128;
/** 2000-01-01, where PostgreSQL's timestamps begin, in microseconds since 1970. */
const epochMicroseconds = 946_684_800_000_000n;
/** Where a page's header says on which timeline it was begun. */
const pageTimelineOffset = 4;

/** A commit, as its record tells it. */
export interface WalCommit {
  readonly time: Instant;
  /** As PostgreSQL's log prints it, 32 bits; undefined for the commit of a prepared transaction, which is not the one that wrote the record. */
  readonly xid: string | undefined;
}

/** A commit, and where its record begins. */
export interface PlacedCommit extends WalCommit {
  readonly lsn: Lsn;
}

/** A record's first bytes, and where it lies. */
export interface RecordHead {
  readonly lsn: Lsn;
  /** Header and data, 128 bytes of them at most; fewer where the WAL that was given ends within. */
  readonly head: Buffer;
  /** Of the page on which it begins. */
  readonly pageTimeline: TimelineId;
}

/** What records say. */
export interface ReadCommits {
  readonly commits: readonly PlacedCommit[];
  /** Where the last record begins that could be read; undefined when none could. */
  readonly lastRecordLsn: Lsn | undefined;
}

/** Time of the last commit whose record begins in the segment; undefined when there is none. */
export function lastCommitTime(segment: Buffer): Instant | undefined {
  return readCommits(segment).commits.at(-1)?.time;
}

/** Every commit whose record begins in the WAL. @param wal one segment, or several of a timeline, one behind the other */
export function readCommits(wal: Buffer): ReadCommits {
  const commits: PlacedCommit[] = [];
  let lastRecordLsn: Lsn | undefined;
  for (const { lsn: recordLsn, head } of recordHeads(wal)) {
    lastRecordLsn = recordLsn;
    const commit = commitOf(head);
    if (commit !== undefined) commits.push({ ...commit, lsn: recordLsn });
  }
  return { commits, lastRecordLsn };
}

/** What the first bytes of a record say of a commit; undefined when it is none. */
export function commitOf(head: Buffer): WalCommit | undefined {
  const microseconds = commitTime(head);
  if (microseconds === undefined) return undefined;
  const isOwn = operationOf(head) !== commitPrepared;
  return { time: instantOfStamp(microseconds), xid: isOwn ? String(head.readUInt32LE(4)) : undefined };
}

/** An instant as records hold it (TimestampTz): microseconds since 2000. */
export function instantOfStamp(microseconds: bigint): Instant {
  return instantOfMicroseconds(microseconds + epochMicroseconds);
}

/**
 * The first bytes of each record. What is left of an older use of the file behind the end is told by its chain of positions.
 * @param segment one segment, or one with what lies behind it, in pages of 8 KiB
 */
export function* recordHeads(segment: Buffer): Generator<RecordHead> {
  if (segment.readUInt32LE(pageBytesOffset) !== walPageBytes) return;
  const startPosition = segment.readBigUInt64LE(8);
  let offset = firstRecord(segment, 0);
  let previous: bigint | undefined;
  while (offset !== undefined && offset + recordHeaderBytes <= segment.length) {
    const totalBytes = segment.readUInt32LE(offset);
    if (totalBytes === 0) {
      // A switch leaves the rest of its segment empty.
      offset = firstRecord(segment, nextSegment(segment, offset));
      continue;
    }
    if (totalBytes < recordHeaderBytes) return;
    const { bytes: head } = readAcross(segment, offset, Math.min(totalBytes, headBytes));
    if (head.length < recordHeaderBytes || (previous !== undefined && head.readBigUInt64LE(8) !== previous)) return;
    const position = startPosition + BigInt(offset);
    const pageTimeline = segment.readUInt32LE(offset - (offset % walPageBytes) + pageTimelineOffset);
    yield { lsn: lsn(position), head, pageTimeline };
    previous = position;
    offset = nextRecord(segment, readAcross(segment, offset, totalBytes, { skip: true }).end);
  }
}

function nextSegment(wal: Buffer, offset: number): number {
  const segmentBytes = wal.readUInt32LE(segmentBytesOffset);
  return (Math.floor(offset / segmentBytes) + 1) * segmentBytes;
}

/** A record that began in an earlier segment may fill whole pages of this one. */
function firstRecord(wal: Buffer, segmentOffset: number): number | undefined {
  if (segmentOffset + longHeaderBytes > wal.length) return undefined;
  const isContinued = (wal.readUInt16LE(segmentOffset + 2) & continuedFlag) !== 0;
  const remainingBytes = isContinued ? wal.readUInt32LE(segmentOffset + 16) : 0;
  return nextRecord(wal, readAcross(wal, segmentOffset + longHeaderBytes, remainingBytes, { skip: true }).end);
}

/** Records begin at multiples of eight, and never in a page's header. */
function nextRecord(segment: Buffer, endBytes: number): number | undefined {
  const aligned = Number(((BigInt(endBytes) + alignmentBytes - 1n) / alignmentBytes) * alignmentBytes);
  const offset = aligned % walPageBytes === 0 ? aligned + pageHeaderBytes(segment, aligned) : aligned;
  return offset < segment.length ? offset : undefined;
}

function pageHeaderBytes(wal: Buffer, pageOffset: number): number {
  const isLong = pageOffset + shortHeaderBytes <= wal.length && (wal.readUInt16LE(pageOffset + 2) & longHeaderFlag) !== 0;
  return isLong ? longHeaderBytes : shortHeaderBytes;
}

/** Bytes of a record, over the headers of the pages that it crosses. */
function readAcross(segment: Buffer, from: number, sizeBytes: number, options: { readonly skip?: boolean } = {}) {
  const pieces: Buffer[] = [];
  let [offset, leftBytes] = [from, sizeBytes];
  while (leftBytes > 0 && offset < segment.length) {
    if (offset % walPageBytes === 0) offset += pageHeaderBytes(segment, offset);
    const pieceBytes = Math.min(leftBytes, walPageBytes - (offset % walPageBytes));
    if (options.skip !== true) pieces.push(segment.subarray(offset, offset + pieceBytes));
    offset += pieceBytes;
    leftBytes -= pieceBytes;
  }
  return { bytes: Buffer.concat(pieces), end: offset };
}

function operationOf(head: Buffer): number {
  return head.readUInt8(16) & operationMask;
}

/** Microseconds since 2000 when the record is a commit. Its own data begins with the time (xl_xact_commit). */
function commitTime(head: Buffer): bigint | undefined {
  if (head.readUInt8(17) !== transactionManager || !commitOperations.has(operationOf(head))) return undefined;
  const data = ownDataOf(head);
  return data !== undefined && data.length >= 8 ? data.readBigInt64LE(0) : undefined;
}

/** What a record says that changes no page: its own data, as far as the first bytes hold it. Undefined when other things come first. */
export function ownDataOf(head: Buffer): Buffer | undefined {
  for (let offset = recordHeaderBytes; offset < head.length;) {
    const identifier = head.readUInt8(offset);
    if (identifier === dataShort) return head.subarray(offset + 2);
    if (identifier === dataLong) return head.subarray(offset + 5);
    if (identifier === origin) offset += 3;
    else if (identifier === topLevelTransaction) offset += 5;
    else return undefined;
  }
  return undefined;
}
