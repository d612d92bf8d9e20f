import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WalReader, type WalReading } from '../../src/archive/wal-reader.ts';
import { lsn } from '../../src/domain/lsn.ts';
import { smallSegment } from './support/small-archive.ts';
import { segmentBytes } from './support/wal.ts';
import { commitRecord, type MadeRecord, segmentsWith } from './support/wal-records.ts';

const start = lsn(5n * BigInt(segmentBytes));
const other = (sizeBytes: number): MadeRecord => ({ manager: 10, info: 0x20, data: Buffer.alloc(sizeBytes, 7) });
const switchRecord: MadeRecord = { manager: 0, info: 0x40, data: Buffer.alloc(0), endsSegment: true };

function read(segments: readonly Buffer[]): WalReading {
  const reader = new WalReader({ timeline: 1, from: start });
  segments.every((segment, index) => reader.read(segment, lsn(start + BigInt(index * segmentBytes))));
  return reader.reading;
}

describe('WalReader', () => {
  it('finds the end behind the last whole record, over pages and segments, and the last commit', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 900_000 }), { maxLength: 6 });
    fc.assert(
      fc.property(sizes, (before) => {
        const made = segmentsWith(smallSegment(5), [...before.map(other), commitRecord('2026-11-22T10:00:07Z'), other(10)]);
        const reading = read(made.segments);
        expect(reading.end).toBe(made.end);
        expect(reading.recordCount).toBe(before.length + 2);
        expect(reading.lastCommit?.time).toBe('2026-11-22T10:00:07.000000Z');
      }),
      { numRuns: 40 },
    );
  });

  it('ends before the record in which any byte is not as it was written', () => {
    const records = [other(9000), commitRecord('2026-11-22T10:00:07Z'), other(20_000), commitRecord('2026-11-22T10:00:09Z')];
    const { segments, positions, end } = segmentsWith(smallSegment(5), records);
    const [segment] = segments;
    const used = Number(end - start);
    fc.assert(
      fc.property(fc.integer({ min: 40, max: used - 9 }), (at) => {
        const damaged = Buffer.from(segment!);
        damaged.writeUInt8(damaged.readUInt8(at) ^ 0x01, at);
        const hit = positions.findLast((position) => position - start <= BigInt(at));
        const { end: readEnd } = read([damaged]);
        // A page header, or what fills a record up to a multiple of eight, may be hit: the first ends the reading, the second is no part of it.
        expect(readEnd <= (isWithinRecords(at, records, positions) ? hit! : end)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it('goes on in the next segment behind a switch', () => {
    const made = segmentsWith(smallSegment(5), [other(100), switchRecord, commitRecord('2026-11-22T10:00:07Z')]);
    expect(made.segments).toHaveLength(2);
    expect(read(made.segments)).toMatchObject({ end: made.end, recordCount: 3, lastCommit: { time: '2026-11-22T10:00:07.000000Z' } });
  });

  it('does not count a record of which the last page was never written', () => {
    const made = segmentsWith(smallSegment(5), [commitRecord('2026-11-22T10:00:07Z'), other(20_000)]);
    const torn = Buffer.from(made.segments[0]!).fill(0, 2 * 8192);
    expect(read([torn])).toMatchObject({ end: made.positions[1], recordCount: 1 });
  });

  it('leaves out a record that was given up after a crash, and goes on', () => {
    const first = segmentsWith(smallSegment(5), [commitRecord('2026-11-22T10:00:07Z'), other(2_000_000)]);
    const second = segmentsWith(smallSegment(6), [commitRecord('2026-11-22T10:00:09Z')], { previous: first.positions[0]! });
    second.segments[0]!.writeUInt16LE(second.segments[0]!.readUInt16LE(2) | 0x0008, 2);
    expect(read([first.segments[0]!, second.segments[0]!])).toMatchObject({
      end: second.end,
      lastCommit: { time: '2026-11-22T10:00:09.000000Z' },
    });
  });

  it('passes over the rest of a record that began before it', () => {
    const made = segmentsWith(smallSegment(5), [other(1_500_000), commitRecord('2026-11-22T10:00:07Z')]);
    const reader = new WalReader({ timeline: 1, from: lsn(start + BigInt(segmentBytes)) });
    reader.read(made.segments[1]!, lsn(start + BigInt(segmentBytes)));
    expect(reader.reading).toMatchObject({ end: made.end, recordCount: 1 });
  });
});

/** Is the byte one of a record's own, neither of a page's header nor of what fills it up? */
function isWithinRecords(at: number, records: readonly MadeRecord[], positions: readonly bigint[]): boolean {
  if (at % 8192 < 24) return false;
  const index = positions.findLastIndex((position) => position - start <= BigInt(at));
  const dataBytes = records[index]!.data.length;
  const total = 24 + (dataBytes < 256 ? 2 : 5) + dataBytes;
  let [offset, left] = [Number(positions[index]! - start), total];
  while (left > 0) {
    const piece = Math.min(left, 8192 - (offset % 8192));
    if (at >= offset && at < offset + piece) return true;
    left -= piece;
    offset += piece + 24;
  }
  return false;
}
