/** Segments with records in them, by PostgreSQL's own layout (access/xlogrecord.h): as few fields as a reader of commits looks at. */
import { walSegment } from './wal.ts';

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
}

/** A commit at that time. @param padBytes of further data, as of many invalidation messages */
export function commitRecord(time: string, padBytes = 0): MadeRecord {
  const data = Buffer.alloc(8 + padBytes);
  data.writeBigInt64LE(BigInt(Date.parse(time) - Date.parse('2000-01-01T00:00:00Z')) * 1000n);
  return { manager: 1, info: 0x00, data };
}

/** Puts the records into a segment, one behind the other, over the pages' headers. @param continuedBytes of a record that began before */
export function segmentWith(name: string, records: readonly MadeRecord[], continuedBytes = 0): Buffer {
  const segment = walSegment({ name });
  segment.fill(0, longHeaderBytes);
  const start = segment.readBigUInt64LE(8);
  if (continuedBytes > 0) {
    segment.writeUInt16LE(segment.readUInt16LE(2) | 0x0001, 2);
    segment.writeUInt32LE(continuedBytes, 16);
  }
  let offset = write(segment, longHeaderBytes, Buffer.alloc(continuedBytes, 0xaa));
  let previous = 0n;
  for (const record of records) {
    offset = Math.ceil(offset / 8) * 8;
    if (offset % pageBytes === 0) offset += shortHeaderBytes;
    const position = start + BigInt(offset);
    offset = write(segment, offset, recordBytes(record, previous));
    previous = position;
  }
  return segment;
}

function recordBytes({ manager, info, data, isStale = false }: MadeRecord, previous: bigint): Buffer {
  const isShort = data.length < 256;
  const bytes = Buffer.alloc(24 + (isShort ? 2 : 5) + data.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeBigUInt64LE(isStale ? 0x1234n : previous, 8);
  bytes.writeUInt8(info, 16);
  bytes.writeUInt8(manager, 17);
  bytes.writeUInt8(isShort ? 255 : 254, 24);
  if (isShort) bytes.writeUInt8(data.length, 25);
  else bytes.writeUInt32LE(data.length, 25);
  data.copy(bytes, bytes.length - data.length);
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
