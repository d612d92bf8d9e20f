import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lsn } from '../../src/domain/lsn.ts';
import {
  defaultWalSegmentBytes,
  historyFileName,
  isWalSegmentName,
  parseWalSegmentName,
  segmentNumberAt,
  segmentNumberBefore,
  segmentStart,
  walFileKind,
  walSegmentName,
} from '../../src/domain/wal-segment.ts';
import { thrownBy } from './support/thrown.ts';

const mebibyte = 1024 * 1024;
/** Every size that initdb --wal-segsize allows. */
const segmentSizesBytes = Array.from({ length: 11 }, (_, power) => mebibyte * 2 ** power);
const sizes = fc.constantFrom(...segmentSizesBytes);
const timelines = fc.integer({ min: 1, max: 0xffff_ffff });
const positions = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('walSegmentName', () => {
  it.each([
    [1, 0n, defaultWalSegmentBytes, '000000010000000000000000'],
    [1, 5n, defaultWalSegmentBytes, '000000010000000000000005'],
    [2, 255n, defaultWalSegmentBytes, '0000000200000000000000FF'],
    [2, 256n, defaultWalSegmentBytes, '000000020000000100000000'],
    [10, 4096n, mebibyte, '0000000A0000000100000000'],
    [1, 4n, 1024 * mebibyte, '000000010000000100000000'],
    [1, 3n, 1024 * mebibyte, '000000010000000000000003'],
    [0xffff_ffff, 2n ** 40n - 1n, defaultWalSegmentBytes, 'FFFFFFFFFFFFFFFF000000FF'],
  ])('walSegmentName names segment %s/%s of %s bytes as PostgreSQL does', (timeline, number, segmentBytes, name) => {
    expect(walSegmentName({ timeline, number }, segmentBytes)).toBe(name);
  });

  it('walSegmentName and parseWalSegmentName are inverse for every segment size', () => {
    fc.assert(
      fc.property(timelines, positions, sizes, (timeline, position, segmentBytes) => {
        const number = segmentNumberAt(lsn(position), segmentBytes);
        const name = walSegmentName({ timeline, number }, segmentBytes);
        expect(isWalSegmentName(name)).toBe(true);
        expect(parseWalSegmentName(name, segmentBytes)).toEqual({ timeline, number });
      }),
    );
  });

  it('walSegmentName orders names of one timeline as their numbers', () => {
    fc.assert(
      fc.property(timelines, positions, positions, sizes, (timeline, one, other, segmentBytes) => {
        const [a, b] = [segmentNumberAt(lsn(one), segmentBytes), segmentNumberAt(lsn(other), segmentBytes)];
        const [nameA, nameB] = [a, b].map((number) => walSegmentName({ timeline, number }, segmentBytes));
        expect(nameA! < nameB!).toBe(a < b);
      }),
    );
  });
});

describe('parseWalSegmentName', () => {
  it.each(['', '00000001000000000000000', '0000000100000000000000010', '00000001000000000000000a', '000000010000000000000001.partial'])(
    'parseWalSegmentName refuses %j',
    async (name) => {
      const error = await thrownBy(() => parseWalSegmentName(name));
      expect(error).toMatchObject({ code: 'INVALID_REQUEST', message: `"${name}" is not the name of a WAL segment.` });
    },
  );
});

describe('segment numbers', () => {
  it('segmentNumberAt and segmentNumberBefore differ only on a boundary', () => {
    for (const segmentBytes of segmentSizesBytes) {
      const boundary = lsn(7n * BigInt(segmentBytes));
      expect(segmentNumberAt(boundary, segmentBytes)).toBe(7n);
      expect(segmentNumberBefore(boundary, segmentBytes)).toBe(6n);
      expect(segmentNumberBefore(lsn(boundary + 1n), segmentBytes)).toBe(7n);
      expect(segmentNumberAt(lsn(boundary - 1n), segmentBytes)).toBe(6n);
    }
    expect(segmentNumberBefore(lsn(0n))).toBe(0n);
  });

  it('segmentStart is the first position of the segment that holds it', () => {
    fc.assert(
      fc.property(positions, sizes, (position, segmentBytes) => {
        const start = segmentStart(segmentNumberAt(lsn(position), segmentBytes), segmentBytes);
        expect(start <= position && position - start < BigInt(segmentBytes)).toBe(true);
        expect(segmentNumberAt(start, segmentBytes)).toBe(segmentNumberAt(lsn(position), segmentBytes));
      }),
    );
  });
});

describe('walFileKind', () => {
  it.each([
    ['000000010000000000000001', 'segment'],
    ['000000010000000000000001.partial', 'partial'],
    ['00000002.history', 'history'],
    ['000000010000000000000001.00000028.backup', 'backup-history'],
    ['000000010000000000000001.00000028.backup.zst', undefined],
    ['00000001000000000000000g', undefined],
    ['archive_status', undefined],
    ['RECOVERYXLOG', undefined],
    ['../000000010000000000000001', undefined],
    ['000000010000000000000001\n', undefined],
    ['', undefined],
  ])('walFileKind takes %j for %s', (name, kind) => {
    expect(walFileKind(name)).toBe(kind);
  });

  it('historyFileName writes a name that walFileKind knows', () => {
    expect(historyFileName(10)).toBe('0000000A.history');
    fc.assert(
      fc.property(timelines, (timeline) => {
        expect(walFileKind(historyFileName(timeline))).toBe('history');
      }),
    );
  });
});
