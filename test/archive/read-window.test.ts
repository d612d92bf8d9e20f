import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { walKey } from '../../src/archive/layout.ts';
import { readArchiveWindow } from '../../src/archive/read-window.ts';
import { lastCommitTime } from '../../src/archive/wal-commits.ts';
import { windowLimitsOfAnswer } from '../../src/domain/archive-window.ts';
import { SmallArchive, smallSegment } from './support/small-archive.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { systemIdentifier, walSegment } from './support/wal.ts';
import { commitRecord, type MadeRecord, segmentWith } from './support/wal-records.ts';

const other: MadeRecord = { manager: 10, info: 0x20, data: Buffer.alloc(100, 7) };

describe('lastCommitTime', () => {
  it('lastCommitTime gives the time of the last commit, whatever else the segment holds', () => {
    const records = [commitRecord('2026-11-22T10:00:00Z'), other, commitRecord('2026-11-22T10:00:05.250Z'), other];
    expect(lastCommitTime(segmentWith(smallSegment(5), records))).toBe('2026-11-22T10:00:05.250000Z');
    expect(lastCommitTime(segmentWith(smallSegment(5), [other]))).toBeUndefined();
    expect(lastCommitTime(walSegment({ name: smallSegment(5) }))).toBeUndefined();
  });

  it('lastCommitTime does not read what an older use of the file has left behind the end', () => {
    const stale = { ...commitRecord('2031-01-01T00:00:00Z'), isStale: true };
    expect(lastCommitTime(segmentWith(smallSegment(5), [commitRecord('2026-11-22T10:00:00Z'), stale]))).toBe('2026-11-22T10:00:00.000000Z');
  });

  it('lastCommitTime finds it behind records of any length, over pages, and behind one that began in the segment before', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 8 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 0, max: 20_000 }), (before, continued, padBytes) => {
        const records = [
          ...before.map((sizeBytes): MadeRecord => ({ manager: 0, info: 0, data: Buffer.alloc(sizeBytes) })),
          commitRecord('2026-11-22T10:00:07Z', padBytes),
        ];
        expect(lastCommitTime(segmentWith(smallSegment(5), records, continued))).toBe('2026-11-22T10:00:07.000000Z');
      }),
      { numRuns: 50 },
    );
  });
});

describe('readArchiveWindow', () => {
  it('readArchiveWindow reaches into the unfinished segment of a source that is gone, to a second before its last commit', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4, 5], { closedAt: '2026-11-22T10:01:00Z' });
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:30Z' });
    const path = join(directory.path, 'unfinished');
    const records = [commitRecord('2026-11-22T10:05:30Z'), other];
    await writeFile(path, segmentWith(smallSegment(6), records));
    await archive.openWal().push({ path, name: `${smallSegment(6)}.partial`, systemIdentifier });
    const options = { cluster: 'shop', openWal: archive.openWal, cipher: undefined, limits: windowLimitsOfAnswer };
    const window = await readArchiveWindow(store, options);
    const end = 6 * 1024 * 1024 + 40 + 40 + 128;
    expect(window).toMatchObject({
      latest: {
        instant: '2026-11-22T10:05:29.000000Z',
        segment: smallSegment(6),
        lsn: `0/${end.toString(16).toUpperCase()}`,
        isPartial: true,
      },
      lastCommit: { time: '2026-11-22T10:05:30.000000Z', segment: smallSegment(6) },
      backups: [{ toSegment: smallSegment(5) }],
      holes: [],
    });
    // Behind a hole nothing of it is reached.
    await archive.addWal([8], { closedAt: '2026-11-22T10:09:00Z' });
    expect((await readArchiveWindow(store, options)).latest).not.toHaveProperty('isPartial');
  });

  it('readArchiveWindow tells from when to when, the last commit, holes with their instants, and each backup’s reach', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4, 5, 8, 9], { closedAt: '2026-11-22T10:01:00Z' });
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:30Z' });
    await archive.addBackup({ start: 8, finishTime: '2026-11-22T10:03:30Z', isPermanent: true });
    const path = join(directory.path, 'with-commit');
    await writeFile(path, segmentWith(smallSegment(10), [commitRecord('2026-11-22T10:05:30Z')]));
    await archive.openWal().push({ path, name: smallSegment(10), systemIdentifier });
    const window = await readArchiveWindow(store, {
      cluster: 'shop',
      openWal: archive.openWal,
      cipher: undefined,
      limits: windowLimitsOfAnswer,
    });
    const [first, second] = [`base_${smallSegment(3)}`, `base_${smallSegment(8)}`];
    expect(window).toMatchObject({
      cluster: 'shop',
      earliest: { instant: '2026-11-22T10:00:30.000000Z', backup: first },
      latest: { segment: smallSegment(10), lsn: '0/B00000', timeline: 1, backup: second },
      lastCommit: { time: '2026-11-22T10:05:30.000000Z', segment: smallSegment(10) },
      leftOut: { holes: 0, backups: 0 },
    });
    expect(window.holes).toEqual([
      {
        timeline: 1,
        first: smallSegment(6),
        last: smallSegment(7),
        count: 2,
        after: '2026-11-22T10:03:00.000000Z',
        before: '2026-11-22T10:04:00.000000Z',
        backups: [first],
        backupCount: 1,
      },
    ]);
    expect(
      window.backups.map(({ backup, toSegment, toClosedAt, isUsable, isPermanent }) => [
        backup,
        toSegment,
        toClosedAt?.slice(11, 19),
        isUsable,
        isPermanent,
      ]),
    ).toEqual([
      [first, smallSegment(5), '10:03:00', true, false],
      [second, smallSegment(10), expect.any(String), true, true],
    ]);
  });

  it('readArchiveWindow takes a second off the time at which the last segment was closed: so much a commit may lie before its record', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4], { closedAt: '2026-11-22T10:01:00Z' });
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:30Z' });
    const read = () =>
      readArchiveWindow(store, { cluster: 'shop', openWal: archive.openWal, cipher: undefined, limits: windowLimitsOfAnswer });
    expect((await read()).latest).toMatchObject({ instant: '2026-11-22T10:01:59.000000Z' });
    expect((await read()).lastCommit).toBeNull();
    // Another tool's object says nothing of the kind.
    await store.delete([walKey(smallSegment(4), 'zst')]);
    await store.put(walKey(smallSegment(4), ''), walSegment({ name: smallSegment(4) }));
    expect((await read()).latest).toMatchObject({ instant: null, segment: smallSegment(4) });
  });

  it('readArchiveWindow of an archive without a usable base backup has no beginning and no end', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([3, 4]);
    const read = () =>
      readArchiveWindow(store, { cluster: 'shop', openWal: archive.openWal, cipher: undefined, limits: windowLimitsOfAnswer });
    expect(await read()).toMatchObject({ earliest: null, latest: null, lastCommit: null, backups: [] });
    await archive.addBackup({ start: 7, finishTime: '2026-11-22T10:00:30Z' });
    expect(await read()).toMatchObject({ earliest: null, latest: null, backups: [{ isUsable: false }] });
  });
});
