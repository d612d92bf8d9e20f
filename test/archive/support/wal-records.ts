/** Segments with records in them, by PostgreSQL's own layout (access/xlogrecord.h): as few fields as a reader of commits looks at. */
import { crc32c } from '@node-rs/crc32';
import { parseWalSegmentName, walSegmentName } from '../../../src/domain/wal-segment.ts';
import { segmentBytes, walSegment } from './wal.ts';

const pageBytes = 8192;
const shortHeaderBytes = 24;
const longHeaderBytes = 40;

/** A record: what kind, and its own data. */
export interface MadeRecord {
  readonly manager: number;
  readonly info: number;
  readonly data: Buffer;
  /** The previous record's position is wrong: left over from an older use of the file. */
  readonly isStale?: boolean;
  /** Transaction id; default 0. */
  readonly xid?: number;
  /** The next record begins in the next segment. */
  readonly endsSegment?: boolean;
}

/** Segments with records over their borders. */
export interface MadeWal {
  readonly segments: readonly Buffer[];
  /** Where the records begin. */
  readonly positions: readonly bigint[];
  /** Where the next one would begin. */
  readonly end: bigint;
}

/** A commit at that time. @param padBytes of further data, as of many invalidation messages */
export function commitRecord(time: string, padBytes = 0): MadeRecord {
  const data = Buffer.alloc(8 + padBytes);
  data.writeBigInt64LE(BigInt(Date.parse(time) - Date.parse('2000-01-01T00:00:00Z')) * 1000n);
  return { manager: 1, info: 0x00, data };
}

/** Puts the records into segments, from that one on, as many as they need. @param options.previous where the record before them began */
export function segmentsWith(name: string, records: readonly MadeRecord[], options: { readonly previous?: bigint } = {}): MadeWal {
  const { timeline, number } = parseWalSegmentName(name, segmentBytes);
  const segments: Buffer[] = [];
  const positions: bigint[] = [];
  const start = number * BigInt(segmentBytes);
  const pageAt = (address: number, leftBytes: number) => {
    const index = Math.floor(address / segmentBytes);
    segments[index] ??= emptySegment(walSegmentName({ timeline, number: number + BigInt(index) }, segmentBytes));
    const segment = segments[index];
    const offset = address % segmentBytes;
    if (offset > 0) segment.copy(segment, offset, 0, 8);
    segment.writeUInt16LE((offset === 0 ? 0x0002 : 0) | (leftBytes > 0 ? 0x0001 : 0), offset + 2);
    segment.writeBigUInt64LE(start + BigInt(address), offset + 8);
    segment.writeUInt32LE(leftBytes, offset + 16);
    return address + (offset === 0 ? longHeaderBytes : shortHeaderBytes);
  };
  let address = 0;
  let previous = options.previous ?? 0n;
  for (const record of records) {
    address = Math.ceil(address / 8) * 8;
    if (address % pageBytes === 0) address = pageAt(address, 0);
    const position = start + BigInt(address);
    positions.push(position);
    const bytes = recordBytes(record, previous);
    for (let done = 0; done < bytes.length;) {
      if (address % pageBytes === 0) address = pageAt(address, bytes.length - done);
      const piece = bytes.subarray(done, done + pageBytes - (address % pageBytes));
      piece.copy(segments[Math.floor(address / segmentBytes)]!, address % segmentBytes);
      done += piece.length;
      address += piece.length;
    }
    if (record.endsSegment === true) address = Math.ceil(address / segmentBytes) * segmentBytes;
    previous = position;
  }
  return { segments, positions, end: start + BigInt(Math.ceil(address / 8) * 8) };
}

function emptySegment(name: string): Buffer {
  return walSegment({ name }).fill(0, longHeaderBytes);
}

/** Puts the records into a segment, one behind the other, over the pages' headers. @param continuedBytes of a record that began before */
export function segmentWith(name: string, records: readonly MadeRecord[], continuedBytes = 0, previousRecord = 0n): Buffer {
  const segment = walSegment({ name });
  segment.fill(0, longHeaderBytes);
  const start = segment.readBigUInt64LE(8);
  if (continuedBytes > 0) {
    segment.writeUInt16LE(segment.readUInt16LE(2) | 0x0001, 2);
    segment.writeUInt32LE(continuedBytes, 16);
  }
  let offset = write(segment, longHeaderBytes, Buffer.alloc(continuedBytes, 0xaa));
  let previous = previousRecord;
  for (const record of records) {
    offset = Math.ceil(offset / 8) * 8;
    if (offset % pageBytes === 0) offset += shortHeaderBytes;
    const position = start + BigInt(offset);
    offset = write(segment, offset, recordBytes(record, previous));
    previous = position;
  }
  return segment;
}

function recordBytes({ manager, info, data, isStale = false, xid = 0 }: MadeRecord, previous: bigint): Buffer {
  const isShort = data.length < 256;
  const bytes = Buffer.alloc(24 + (isShort ? 2 : 5) + data.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(xid, 4);
  bytes.writeBigUInt64LE(isStale ? 0x1234n : previous, 8);
  bytes.writeUInt8(info, 16);
  bytes.writeUInt8(manager, 17);
  bytes.writeUInt8(isShort ? 255 : 254, 24);
  if (isShort) bytes.writeUInt8(data.length, 25);
  else bytes.writeUInt32LE(data.length, 25);
  data.copy(bytes, bytes.length - data.length);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 20), crc32c(bytes.subarray(24))), 20);
  return bytes;
}

function write(segment: Buffer, from: number, bytes: Buffer): number {
  let offset = from;
  for (const byte of bytes) {
    if (offset % pageBytes === 0) offset += shortHeaderBytes;
    segment.writeUInt8(byte, offset);
    offset += 1;
  }
  return offset;
}
