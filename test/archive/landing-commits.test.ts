import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { type LandingCommits, readLandingCommits } from '../../src/archive/landing-commits.ts';
import { readCommits } from '../../src/archive/wal-commits.ts';
import { formatLsn } from '../../src/domain/lsn.ts';
import { segmentStart } from '../../src/domain/wal-segment.ts';
import { SmallArchive, smallSegment } from './support/small-archive.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier } from './support/wal.ts';
import { commitRecord, type MadeRecord, segmentWith } from './support/wal-records.ts';

const other: MadeRecord = { manager: 10, info: 0x20, data: Buffer.alloc(100, 7) };

function commit(seconds: number, xid: number): MadeRecord {
  return { ...commitRecord(`2026-11-22T10:00:0${seconds}Z`), xid };
}

/** Positions of the records of a segment: of commits only. */
function commitLsns(segment: Buffer): string[] {
  return readCommits(segment).commits.map(({ lsn }) => formatLsn(lsn));
}

/** Segments that the last landing was looked for in. */
let readNames: readonly string[];

async function around(segments: readonly (readonly [number, Buffer])[], endLsn: string, isLastReplayed = true): Promise<LandingCommits> {
  await using directory = await temporaryDirectory();
  const { store } = await storeIn(directory.path);
  const archive = new SmallArchive(store, directory.path).openWal();
  for (const [number, bytes] of segments) {
    const path = join(directory.path, 'segment');
    await writeFile(path, bytes);
    await archive.push({ path, name: smallSegment(number), systemIdentifier });
  }
  const numbers = segments.map(([number]) => number);
  const [first, last] = [smallSegment(Math.min(...numbers)), smallSegment(Math.max(...numbers))];
  const view = { segments: [{ timeline: 1, first, last, count: numbers.length }], histories: [] };
  const reading = vi.spyOn(archive, 'read');
  const commits = await readLandingCommits(archive, { view, segmentBytes, endLsn, isLastReplayed, signal: AbortSignal.timeout(10_000) });
  readNames = reading.mock.calls.map(([name]) => name);
  return commits;
}

describe('readLandingCommits', () => {
  it('readLandingCommits names the commit at or before the landing, and the next one', async () => {
    const segment = segmentWith(smallSegment(5), [commit(1, 741), other, commit(2, 742), other]);
    const [first = '', second = ''] = commitLsns(segment);
    const [kept, leftOut] = [
      { time: '2026-11-22T10:00:01.000000Z', xid: '741' },
      { time: '2026-11-22T10:00:02.000000Z', xid: '742' },
    ];
    expect(await around([[5, segment]], first)).toEqual({ kept, leftOut });
    expect(await around([[5, segment]], second)).toEqual({ kept: leftOut, leftOut: undefined });
    // Replay stopped before the second commit, which PostgreSQL had read already.
    expect(await around([[5, segment]], second, false)).toEqual({ kept, leftOut });
  });

  it('readLandingCommits looks into the segment before and into the next one, over the gap that a switch leaves', async () => {
    const before = segmentWith(smallSegment(4), [commit(1, 741)]);
    const previous = segmentStart(4n, segmentBytes) + 40n;
    const landed = segmentWith(smallSegment(5), [other], 0, previous);
    const end = segmentStart(5n, segmentBytes) + 40n;
    const after = segmentWith(smallSegment(6), [commit(3, 743)], 0, end);
    expect(
      await around(
        [
          [4, before],
          [5, landed],
          [6, after],
        ],
        '0/500028',
      ),
    ).toMatchObject({ kept: { xid: '741' }, leftOut: { xid: '743' } });
  });

  it('readLandingCommits reads the landing’s segment alone when both commits are in it', async () => {
    const landed = segmentWith(smallSegment(5), [commit(1, 741), commit(2, 742)]);
    const [first = ''] = commitLsns(landed);
    const others = [4, 6].map((number) => [number, segmentWith(smallSegment(number), [commit(3, 743)])] as const);
    expect(await around([...others, [5, landed]], first)).toMatchObject({ kept: { xid: '741' }, leftOut: { xid: '742' } });
    expect(readNames).toEqual([smallSegment(5)]);
  });

  it('readLandingCommits tells nothing when the records cannot be followed to the landing', async () => {
    const stale = segmentWith(smallSegment(5), [commit(1, 741), { ...commit(2, 742), isStale: true }]);
    expect(await around([[5, stale]], '0/5000F0')).toEqual({ kept: undefined, leftOut: undefined });
  });

  it('readLandingCommits gives a prepared transaction’s commit no id, since its record’s head has another', async () => {
    const segment = segmentWith(smallSegment(5), [{ ...commit(1, 741), info: 0x30 }]);
    expect(await around([[5, segment]], commitLsns(segment)[0] ?? '')).toMatchObject({ kept: { xid: null } });
  });
});
