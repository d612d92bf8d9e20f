/**
 * Reads WAL record by record, over pages and segments, as crash recovery does: a record counts when its pages chain, its position chain and its
 * CRC-32C are right (PostgreSQL: access/transam/xlogreader.c; the format is the same from 14 to 18). It finds where the WAL of a server ends.
 */
import { crc32c } from '@node-rs/crc32';
import { type Lsn, lsn } from '../domain/lsn.ts';
import type { TimelineId } from '../domain/wal-segment.ts';
import { commitOf, type WalCommit } from './wal-commits.ts';
import {
  walContinuedFlag,
  walLongPageHeaderBytes,
  walOverwrittenFlag,
  walPageBytes,
  walRecordHeaderBytes,
  walShortPageHeaderBytes,
} from './wal-page.ts';

/** What has been read so far. */
export interface WalReading {
  /** End of the last whole record; where the reading began while there is none. */
  readonly end: Lsn;
  /** Begin of the first bytes that are no WAL of this place; undefined while everything was. */
  readonly brokenAt: Lsn | undefined;
  /** End of the rest of a record that began before the reading did, whose CRC nobody can tell; undefined when there is none. */
  readonly restEnd: Lsn | undefined;
  readonly recordCount: number;
  readonly lastCommit: WalCommit | undefined;
}

/** A record of which some pages were read. */
interface OpenRecord {
  readonly start: Lsn;
  /** Total length less what was read; page headers do not count. */
  leftBytes: number;
  /** The first bytes: the header and what tells of a commit. Undefined for the rest of a record that began before the reading did. */
  readonly head: Buffer | undefined;
  headBytes: number;
  /** Of what lies behind the header. */
  crc: number;
}

/** As much of a record as is needed to know a commit. */
const headMaximumBytes = 64;
const crcOffset = 20;
const alignmentBytes = 8;
/** Resource manager of WAL itself, and its record that ends a segment early (catalog/pg_control.h, XLOG_SWITCH). */
const walManager = 0;
const switchOperation = 0x40;
const operationMask = 0xf0;

/** Reads one segment after the other. */
export class WalReader {
  readonly #timeline: TimelineId;
  #magic: number | undefined;
  #open: OpenRecord | undefined;
  /** Begin of the last whole record. */
  #previous: Lsn | undefined;
  /** Where the rest of a segment after a switch is skipped to. */
  #skipTo: Lsn | undefined;
  #end: Lsn;
  #brokenAt: Lsn | undefined;
  #restEnd: Lsn | undefined;
  #recordCount = 0;
  #lastCommit: WalCommit | undefined;

  /** @param from begin of the first segment that is read */
  constructor(options: { readonly timeline: TimelineId; readonly from: Lsn }) {
    this.#timeline = options.timeline;
    this.#end = options.from;
  }

  get reading(): WalReading {
    const [end, brokenAt, restEnd] = [this.#end, this.#brokenAt, this.#restEnd];
    return { end, brokenAt, restEnd, recordCount: this.#recordCount, lastCommit: this.#lastCommit };
  }

  /** Reads the next segment. @returns false once the end of the WAL lies behind */
  read(segment: Buffer, start: Lsn): boolean {
    this.#magic ??= segment.readUInt16LE(0);
    for (let offset = 0; offset < segment.length && this.#brokenAt === undefined; offset += walPageBytes) {
      const address = lsn(start + BigInt(offset));
      if (this.#skipTo !== undefined && address < this.#skipTo) continue;
      this.#skipTo = undefined;
      const whole = { start, bytes: segment.length };
      this.#readPage(segment.subarray(offset, offset + walPageBytes), address, whole);
    }
    return this.#brokenAt === undefined;
  }

  #readPage(page: Buffer, address: Lsn, segment: { readonly start: Lsn; readonly bytes: number }): void {
    const headerBytes = address === segment.start ? walLongPageHeaderBytes : walShortPageHeaderBytes;
    if (!this.#isNextPage(page, address)) return this.#break(address);
    const flags = page.readUInt16LE(2);
    let offset = headerBytes;
    // A server that came back after a crash says so when the rest of a record was never written.
    if ((flags & walOverwrittenFlag) !== 0) this.#open = undefined;
    else if ((flags & walContinuedFlag) !== 0) {
      this.#openRest(page, address);
      if (this.#open?.leftBytes !== page.readUInt32LE(16)) return this.#break(address);
    } else if (this.#open !== undefined) return this.#break(address);
    while (offset < walPageBytes && this.#brokenAt === undefined) {
      offset = this.#readPiece(page, offset, { address, segment });
    }
  }

  /** Is the page the one that lies here in this WAL? A file that was used before holds others behind the end. */
  #isNextPage(page: Buffer, address: Lsn): boolean {
    return page.readUInt16LE(0) === this.#magic && page.readBigUInt64LE(8) === address && page.readUInt32LE(4) <= this.#timeline;
  }

  /** The reading begins within a record: its rest cannot be checked and is passed over. */
  #openRest(page: Buffer, address: Lsn): void {
    if (this.#recordCount > 0 || this.#open !== undefined || address !== this.#end) return;
    this.#open = { start: address, leftBytes: page.readUInt32LE(16), head: undefined, headBytes: 0, crc: 0 };
  }

  /** Reads on in the open record, or begins the next. @returns the offset behind it */
  #readPiece(
    page: Buffer,
    from: number,
    place: { readonly address: Lsn; readonly segment: { readonly start: Lsn; readonly bytes: number } },
  ): number {
    const position = lsn(place.address + BigInt(from));
    const record = this.#open ?? this.#begin(page, from, position);
    if (record === undefined) return walPageBytes;
    const piece = page.subarray(from, Math.min(walPageBytes, from + record.leftBytes));
    this.#take(record, piece);
    if (this.#brokenAt !== undefined || record.leftBytes > 0) return walPageBytes;
    const endOffset = Math.ceil((from + piece.length) / alignmentBytes) * alignmentBytes;
    this.#finish(record, lsn(place.address + BigInt(endOffset)), place.segment);
    return this.#skipTo === undefined ? endOffset : walPageBytes;
  }

  /** Records begin at multiples of eight, so that their length never crosses a page. */
  #begin(page: Buffer, offset: number, position: Lsn): OpenRecord | undefined {
    const totalBytes = page.readUInt32LE(offset);
    if (totalBytes < walRecordHeaderBytes) {
      this.#break(position);
      return undefined;
    }
    const head = Buffer.alloc(Math.min(totalBytes, headMaximumBytes));
    this.#open = { start: position, leftBytes: totalBytes, head, headBytes: 0, crc: 0 };
    return this.#open;
  }

  #take(record: OpenRecord, piece: Buffer): void {
    record.leftBytes -= piece.length;
    if (record.head === undefined) return;
    const headerLeftBytes = Math.max(0, walRecordHeaderBytes - record.headBytes);
    record.headBytes += piece.copy(record.head, record.headBytes);
    if (piece.length > headerLeftBytes) record.crc = crc32c(piece.subarray(headerLeftBytes), record.crc);
    // A length that is garbage would lead on through pages that are none of its own.
    const isChained = this.#previous === undefined || record.head.readBigUInt64LE(8) === this.#previous;
    if (record.headBytes >= walRecordHeaderBytes && !isChained) this.#break(record.start);
  }

  #finish(record: OpenRecord, end: Lsn, segment: { readonly start: Lsn; readonly bytes: number }): void {
    this.#open = undefined;
    const { head } = record;
    if (head === undefined) {
      this.#restEnd = end;
      return;
    }
    if (crc32c(head.subarray(0, crcOffset), record.crc) !== head.readUInt32LE(crcOffset)) return this.#break(record.start);
    this.#previous = record.start;
    this.#recordCount += 1;
    this.#end = end;
    this.#lastCommit = commitOf(head) ?? this.#lastCommit;
    if (head.readUInt8(17) !== walManager || (head.readUInt8(16) & operationMask) !== switchOperation) return;
    this.#skipTo = lsn(segment.start + BigInt(segment.bytes));
    this.#end = this.#skipTo;
  }

  #break(position: Lsn): void {
    this.#brokenAt = position;
  }
}
