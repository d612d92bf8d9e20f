import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WalView } from '../../src/agent/registration.ts';
import { segmentsAfter, storedNameOf, viewHolds } from '../../src/agent/restore/wal-view.ts';
import { parseWalSegmentName, type WalSegmentName, walSegmentName } from '../../src/domain/wal-segment.ts';

/** Timeline 1 up to the fork in segment 0x100, which replay reads from timeline 2. */
const forked: WalView = {
  segments: [range(1, 0xfd, 0xff), range(2, 0x100, 0x102)],
  histories: ['00000002.history'],
};

describe('a view that ends in an unfinished segment', () => {
  const unfinished = { ...forked, partial: name(2, 0x103) };

  it('holds it, and knows under which name the archive does', () => {
    expect(viewHolds(unfinished, name(2, 0x103), 16 * 1024 ** 2)).toBe(true);
    expect(storedNameOf(unfinished, name(2, 0x103))).toBe(`${name(2, 0x103)}.partial`);
    expect(storedNameOf(unfinished, name(2, 0x102))).toBe(name(2, 0x102));
  });
});

describe('viewHolds', () => {
  it.each([
    [name(1, 0xfd), true],
    [name(1, 0xff), true],
    [name(2, 0x102), true],
    ['00000002.history', true],
    [name(1, 0xfc), false],
    [name(1, 0x100), false],
    [name(2, 0xff), false],
    [name(2, 0x103), false],
    ['00000003.history', false],
    [`${name(2, 0x102)}.partial`, false],
    ['', false],
  ])('of %s is %s', (fileName, expected) => {
    expect(viewHolds(forked, fileName, 16 * 1024 ** 2)).toBe(expected);
  });
});

describe('segmentsAfter', () => {
  const after = (fileName: WalSegmentName, count: number) => segmentsAfter(forked, fileName, { count, segmentBytes: 16 * 1024 ** 2 });

  it('crosses to the next timeline and ends with the view', () => {
    expect(after(name(1, 0xfe), 3)).toEqual([name(1, 0xff), name(2, 0x100), name(2, 0x101)]);
    expect(after(name(2, 0x101), 8)).toEqual([name(2, 0x102)]);
    expect(after(name(2, 0x102), 8)).toEqual([]);
    expect(after(name(2, 0x200), 8)).toEqual([]);
  });

  it('gives consecutive segments of the view for every size of segment', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 30 }),
        fc.bigInt({ min: 0n, max: 2n ** 24n }),
        fc.nat(100),
        fc.nat(20),
        (exponent, first, length, count) => {
          const segmentBytes = 2 ** exponent;
          const named = (number: bigint) => walSegmentName({ timeline: 7, number }, segmentBytes);
          const view = { segments: [{ timeline: 7, first: named(first), last: named(first + BigInt(length)) }], histories: [] };
          const following = segmentsAfter(view, named(first), { count, segmentBytes });
          expect(following.map((fileName) => parseWalSegmentName(fileName, segmentBytes).number)).toEqual(
            Array.from({ length: Math.min(length, count) }, (_, index) => first + BigInt(index) + 1n),
          );
          expect(following.every((fileName) => viewHolds(view, fileName, segmentBytes))).toBe(true);
        },
      ),
    );
  });
});

function name(timeline: number, number: number): WalSegmentName {
  return walSegmentName({ timeline, number: BigInt(number) });
}

function range(timeline: number, first: number, last: number): WalView['segments'][number] {
  return { timeline, first: name(timeline, first), last: name(timeline, last) };
}
