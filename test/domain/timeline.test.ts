import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lsn, parseLsn } from '../../src/domain/lsn.ts';
import { latestTimeline, liesOnPath, timelinePath } from '../../src/domain/timeline.ts';
import { thrownBy } from './support/thrown.ts';

const twoForks = '1\t0/5000000\tno recovery target specified\n3\t0/9000060\tbefore 2026-11-22 11:57:00+00\n';

describe('timelinePath', () => {
  it('timelinePath has one endless stretch when there is no history', () => {
    expect(timelinePath(1, undefined)).toEqual([{ timeline: 1, startLsn: 0n, endLsn: undefined }]);
    expect(timelinePath(4, undefined)).toEqual([{ timeline: 4, startLsn: 0n, endLsn: undefined }]);
    expect(timelinePath(2, '\n')).toEqual([{ timeline: 2, startLsn: 0n, endLsn: undefined }]);
  });

  it('timelinePath reads each timeline up to where it was left', () => {
    expect(timelinePath(4, twoForks)).toEqual([
      { timeline: 1, startLsn: 0n, endLsn: parseLsn('0/5000000') },
      { timeline: 3, startLsn: parseLsn('0/5000000'), endLsn: parseLsn('0/9000060') },
      { timeline: 4, startLsn: parseLsn('0/9000060'), endLsn: undefined },
    ]);
  });

  it('timelinePath takes comments, blank lines and a missing reason, as PostgreSQL does', () => {
    expect(timelinePath(2, '# comment\n\n  1 0/5000000\n')).toEqual(timelinePath(2, '1\t0/5000000\tany reason\n'));
  });

  it.each([
    ['no position', 2, '1\n'],
    ['words', 2, 'one\t0/5000000\n'],
    ['a truncated position', 2, '1\t0/\n'],
    ['a position that is too long', 2, '1\t123456789/0\n'],
    ['positions that fall', 4, '1\t0/9000000\n2\t0/5000000\n'],
    ['zeros where text should be', 2, '\0\0\0\0\n'],
    ['timelines that fall', 4, '2\t0/5000000\n1\t0/6000000\n'],
    ['a timeline twice', 4, '1\t0/5000000\n1\t0/6000000\n'],
    ['itself as its parent', 2, '2\t0/5000000\n'],
    ['a child as its parent', 2, '3\t0/5000000\n'],
  ])('timelinePath refuses a history file with %s', async (_what, timeline, text) => {
    const error = await thrownBy(() => timelinePath(timeline, text));
    expect(error).toMatchObject({ code: 'OBJECT_DAMAGED', facts: { timeline } });
    expect(error.message).toContain(`timeline ${timeline}`);
  });

  it('timelinePath refuses a file without end', async () => {
    const lines = Array.from({ length: 10_001 }, (_, index) => `${index + 1}\t0/5000000`).join('\n');
    expect((await thrownBy(() => timelinePath(20_000, lines))).code).toBe('OBJECT_DAMAGED');
  });

  it('timelinePath joins its stretches without gap or overlap', () => {
    const forks = fc.uniqueArray(fc.integer({ min: 1, max: 1000 }), { maxLength: 8 }).map((ids) => ids.toSorted((a, b) => a - b));
    fc.assert(
      fc.property(forks, fc.array(fc.nat(0xffff_ffff), { minLength: 8, maxLength: 8 }), (ids, offsets) => {
        const ends = offsets.toSorted((a, b) => a - b);
        const text = ids.map((id, index) => `${id}\t0/${ends[index]!.toString(16).toUpperCase()}\n`).join('');
        const path = timelinePath(1001, text);
        expect(path.map((stretch) => stretch.timeline)).toEqual([...ids, 1001]);
        expect(path[0]?.startLsn).toBe(0n);
        expect(path.at(-1)?.endLsn).toBeUndefined();
        for (const [index, stretch] of path.slice(1).entries()) expect(stretch.startLsn).toBe(path[index]?.endLsn);
      }),
    );
  });
});

describe('liesOnPath', () => {
  const path = timelinePath(4, twoForks);

  it('liesOnPath accepts a position up to and at the fork, and none behind it', () => {
    expect(liesOnPath(path, 1, parseLsn('0/5000000'))).toBe(true);
    expect(liesOnPath(path, 1, lsn(parseLsn('0/5000000') + 1n))).toBe(false);
    expect(liesOnPath(path, 3, parseLsn('0/8000000'))).toBe(true);
    expect(liesOnPath(path, 4, parseLsn('FF/0'))).toBe(true);
  });

  it('liesOnPath refuses a timeline that the path leaves out', () => {
    expect(liesOnPath(path, 2, parseLsn('0/1000000'))).toBe(false);
    expect(liesOnPath(path, 5, parseLsn('0/1000000'))).toBe(false);
  });
});

describe('latestTimeline', () => {
  it('latestTimeline follows history files until one is missing, as PostgreSQL does', () => {
    expect(latestTimeline(1, new Set())).toBe(1);
    expect(latestTimeline(1, new Set([2, 3]))).toBe(3);
    expect(latestTimeline(1, new Set([2, 4]))).toBe(2);
    expect(latestTimeline(3, new Set([2, 3]))).toBe(3);
    expect(latestTimeline(3, new Set([4, 5, 9]))).toBe(5);
  });
});
