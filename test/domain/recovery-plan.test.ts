import { describe, expect, it } from 'vitest';
import { lastSegmentOf, type PlanOptions, planRecovery, segmentCountOf, viewHolds } from '../../src/domain/recovery-plan.ts';
import { backup, fork, minute, positionIn, segment, segments, toLatest, toMinute, wal } from './support/archive.ts';
import { thrownBy } from './support/thrown.ts';

const early = backup({ startSegment: 2, finishMinute: 10 });
const late = backup({ startSegment: 6, finishMinute: 30 });

describe('planRecovery chooses the base backup', () => {
  const archive = { backups: [late, early], wal: wal(segments(1, 2, 9)) };

  it.each([
    [31, late],
    [30.5, late],
    [30, early],
    [29.5, early],
    [11, early],
  ])('planRecovery takes the newest backup that ended strictly before minute %s', async (target, expected) => {
    const plan = await planRecovery(toMinute(target, archive));
    expect(plan.backup).toEqual(expected);
  });

  it('planRecovery takes the newest backup of all for the latest target', async () => {
    expect((await planRecovery(toLatest(archive))).backup).toEqual(late);
  });

  it.each([10, 9.5, 1])('planRecovery names the first restorable instant when minute %s is not after any backup', async (target) => {
    const error = await thrownBy(() => planRecovery(toMinute(target, archive)));
    expect(error).toMatchObject({
      code: 'NO_BACKUP_BEFORE_TARGET',
      facts: { firstRestorableInstant: minute(10), firstBackup: early.name },
    });
    expect(error.message).toContain('2026-11-22 10:10');
  });

  it('planRecovery says that there is none when the archive holds none', async () => {
    const error = await thrownBy(() => planRecovery(toLatest({ backups: [], wal: wal(segments(1, 1, 9)) })));
    expect(error.code).toBe('NO_BACKUP');
  });

  it('planRecovery takes a backup whose end is unknown by its start', async () => {
    const legacy = { ...early, finishLsn: undefined };
    expect((await planRecovery(toMinute(20, { backups: [legacy], wal: archive.wal }))).backup).toEqual(legacy);
  });
});

describe('planRecovery leaves out backups that cannot be used', () => {
  const long = backup({ startSegment: 6, finishSegment: 8, finishMinute: 30 });

  it('planRecovery takes an older backup while WAL through the end of the newest is not archived', async () => {
    const plan = await planRecovery(toMinute(40, { backups: [early, long], wal: wal(segments(1, 2, 7)) }));
    expect(plan.backup).toEqual(early);
    const complete = await planRecovery(toMinute(40, { backups: [early, long], wal: wal(segments(1, 2, 8)) }));
    expect(complete.backup).toEqual(long);
  });

  it('planRecovery needs no segment that begins where a backup ends', async () => {
    const atBoundary = { ...long, finishLsn: positionIn(8, 0) };
    expect((await planRecovery(toMinute(40, { backups: [atBoundary], wal: wal(segments(1, 6, 7)) }))).backup).toEqual(atBoundary);
  });

  it('planRecovery says which backups are there when none can be used', async () => {
    const error = await thrownBy(() => planRecovery(toMinute(40, { backups: [long], wal: wal([segment(1, 6), segment(1, 8)]) })));
    expect(error).toMatchObject({ code: 'NO_BACKUP', facts: { backups: [long.name] } });
    expect(error.message).toContain('missing');
  });

  it('planRecovery names the first instant after the oldest usable backup, not after an unusable one', async () => {
    const error = await thrownBy(() => planRecovery(toMinute(20, { backups: [early, late], wal: wal(segments(1, 6, 9)) })));
    expect(error).toMatchObject({ code: 'NO_BACKUP_BEFORE_TARGET', facts: { firstBackup: late.name } });
  });
});

describe('planRecovery proves the WAL', () => {
  it('planRecovery sees every segment from the start of the backup to the end of the archive', async () => {
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: wal(segments(1, 1, 9)) }));
    expect(plan.view).toEqual({ segments: [{ timeline: 1, first: segment(1, 2), last: segment(1, 9), count: 8 }], histories: [] });
    expect(plan).toMatchObject({ timeline: 1, walSegmentBytes: 16 * 1024 * 1024, holeAfterView: undefined });
  });

  it('planRecovery takes the unfinished segment behind the whole ones for the end of the WAL', async () => {
    const partials = new Set([segment(1, 10), segment(1, 12)]);
    const { view } = await planRecovery(toLatest({ backups: [early], wal: { ...wal(segments(1, 2, 9)), partials } }));
    expect(view).toMatchObject({ segments: [{ last: segment(1, 9) }], partial: segment(1, 10) });
    expect([lastSegmentOf(view), segmentCountOf(view)]).toEqual([segment(1, 10), 9]);
    expect(viewHolds(view, { timeline: 1, name: segment(1, 10) })).toBe(true);
    expect(viewHolds(view, { timeline: 1, name: segment(1, 12) })).toBe(false);
  });

  it('planRecovery takes the whole segment where the archive holds both, and no unfinished one before a hole', async () => {
    const partials = new Set([segment(1, 5)]);
    const whole = await planRecovery(toLatest({ backups: [early], wal: { ...wal(segments(1, 2, 9)), partials } }));
    expect(whole.view.partial).toBeUndefined();
    const spoiled = { backups: [early], wal: { ...wal([...segments(1, 2, 4), ...segments(1, 6, 9)]), partials } };
    expect((await thrownBy(() => planRecovery(toLatest(spoiled)))).code).toBe('WAL_MISSING');
  });

  it('planRecovery goes as far as the hole when it is filled later', async () => {
    const plan = await planRecovery({
      ...toLatest({ backups: [early], wal: wal([...segments(1, 2, 4), segment(1, 6)]) }),
      holeIsFilledLater: true,
    });
    expect(plan).toMatchObject({ view: { segments: [{ last: segment(1, 4) }] }, holeAfterView: { first: segment(1, 5) } });
  });

  const holed = { backups: [early], wal: wal([...segments(1, 2, 4), ...segments(1, 8, 9)]) };

  it('planRecovery names the exact missing segments, and the latest instant before them', async () => {
    const error = await thrownBy(() => planRecovery(toMinute(20, { ...holed, closedAtMinutes: { [segment(1, 4)]: 15 } })));
    expect(error).toMatchObject({
      code: 'WAL_MISSING',
      facts: { firstMissing: segment(1, 5), lastMissing: segment(1, 7), latestRestorableInstant: minute(15) },
    });
    expect(error.message).toContain(`${segment(1, 5)} to ${segment(1, 7)}`);
    expect(error.message).toContain('2026-11-22 10:15');
  });

  it('planRecovery names a single missing segment once', async () => {
    const error = await thrownBy(() => planRecovery(toLatest({ backups: [early], wal: wal([...segments(1, 2, 4), segment(1, 6)]) })));
    expect(error.facts).toMatchObject({ firstMissing: segment(1, 5), lastMissing: segment(1, 5), latestRestorableInstant: null });
    expect(error.message).not.toContain(' to 0000');
  });

  it('planRecovery accepts a target that lies before the hole by the clock that closed the segment', async () => {
    const plan = await planRecovery(toMinute(20, { ...holed, closedAtMinutes: { [segment(1, 4)]: 21 } }));
    expect(plan.view.segments).toEqual([{ timeline: 1, first: segment(1, 2), last: segment(1, 4), count: 3 }]);
    expect(plan.holeAfterView).toEqual({ first: segment(1, 5), last: segment(1, 7) });
  });

  it.each([undefined, 20, 19])(
    'planRecovery refuses a target near a hole when the segment before it was closed at minute %s',
    async (closed) => {
      const closedAtMinutes = closed === undefined ? {} : { [segment(1, 4)]: closed };
      expect((await thrownBy(() => planRecovery(toMinute(20, { ...holed, closedAtMinutes })))).code).toBe('WAL_MISSING');
    },
  );

  it('planRecovery refuses the latest target before a hole, whatever the clock says', async () => {
    const closedAt = async () => minute(59);
    expect((await thrownBy(() => planRecovery({ ...toLatest(holed), closedAt }))).code).toBe('WAL_MISSING');
  });

  it('planRecovery starts behind a hole when a backup does', async () => {
    const plan = await planRecovery(toMinute(40, { backups: [early, backup({ startSegment: 8, finishMinute: 30 })], wal: holed.wal }));
    expect(plan.view.segments).toEqual([{ timeline: 1, first: segment(1, 8), last: segment(1, 9), count: 2 }]);
  });

  it('planRecovery ignores segments before the backup', async () => {
    const plan = await planRecovery(toMinute(40, { backups: [late], wal: wal([segment(1, 1), segment(1, 3), ...segments(1, 6, 7)]) }));
    expect(plan.view.segments).toEqual([{ timeline: 1, first: segment(1, 6), last: segment(1, 7), count: 2 }]);
  });

  it('planRecovery counts over the end of a 4 GiB block of names', async () => {
    const atEnd = backup({ startSegment: 254, finishMinute: 10 });
    const plan = await planRecovery(toMinute(20, { backups: [atEnd], wal: wal(segments(1, 254, 258)) }));
    expect(plan.view.segments).toEqual([{ timeline: 1, first: '0000000100000000000000FE', last: '000000010000000100000002', count: 5 }]);
    const error = await thrownBy(() => planRecovery(toMinute(20, { backups: [atEnd], wal: wal([segment(1, 254), segment(1, 256)]) })));
    expect(error.facts).toMatchObject({ firstMissing: '0000000100000000000000FF', lastMissing: '0000000100000000000000FF' });
  });
});

describe('planRecovery follows timelines', () => {
  const forkInSegment7 = { 2: fork(1, 7, 0x500) };

  it('planRecovery reads the segment of the fork on the new timeline, where PostgreSQL does', async () => {
    const holdings = wal([...segments(1, 2, 7), ...segments(2, 7, 9)], forkInSegment7);
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: holdings }));
    expect(plan).toMatchObject({ timeline: 2, backup: { name: early.name }, holeAfterView: undefined });
    expect(plan.view).toEqual({
      segments: [
        { timeline: 1, first: segment(1, 2), last: segment(1, 6), count: 5 },
        { timeline: 2, first: segment(2, 7), last: segment(2, 9), count: 3 },
      ],
      histories: ['00000002.history'],
    });
  });

  it('planRecovery needs the old timeline up to a fork on a boundary, and no segment more', async () => {
    const holdings = wal([...segments(1, 2, 6), ...segments(2, 7, 8)], { 2: fork(1, 7, 0) });
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: holdings }));
    expect(plan.view.segments.map((range) => [range.first, range.last])).toEqual([
      [segment(1, 2), segment(1, 6)],
      [segment(2, 7), segment(2, 8)],
    ]);
  });

  it('planRecovery takes a backup of the new timeline and leaves the old one alone', async () => {
    const onNew = backup({ timeline: 2, startSegment: 8, finishMinute: 30 });
    const holdings = wal([...segments(1, 2, 7), ...segments(2, 7, 9)], forkInSegment7);
    const plan = await planRecovery(toMinute(40, { backups: [early, onNew], wal: holdings }));
    expect(plan.backup).toEqual(onNew);
    expect(plan.view.segments).toEqual([{ timeline: 2, first: segment(2, 8), last: segment(2, 9), count: 2 }]);
  });

  it('planRecovery ignores a backup that the old timeline made behind the fork', async () => {
    const straggler = backup({ startSegment: 8, finishMinute: 30 });
    const holdings = wal([...segments(1, 2, 9), ...segments(2, 7, 9)], forkInSegment7);
    expect((await planRecovery(toMinute(40, { backups: [early, straggler], wal: holdings }))).backup).toEqual(early);
  });

  it('planRecovery takes a backup that ended in the segment of the fork, before it', async () => {
    const inForkSegment = backup({ startSegment: 7, finishMinute: 30 });
    const holdings = wal(segments(2, 7, 9), forkInSegment7);
    const plan = await planRecovery(toMinute(40, { backups: [inForkSegment], wal: holdings }));
    expect(plan.view.segments).toEqual([{ timeline: 2, first: segment(2, 7), last: segment(2, 9), count: 3 }]);
  });

  it('planRecovery ends where the old timeline does when nothing of the new one is archived yet', async () => {
    const holdings = wal([...segments(1, 2, 6), `${segment(1, 7)}.partial`], forkInSegment7);
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: holdings }));
    expect(plan).toMatchObject({ timeline: 2, holeAfterView: undefined });
    expect(plan.view.segments).toEqual([{ timeline: 1, first: segment(1, 2), last: segment(1, 6), count: 5 }]);
  });

  it('planRecovery does not jump from an old timeline with missing WAL to the new one', async () => {
    const holdings = wal([...segments(1, 2, 4), ...segments(2, 7, 9)], { 2: fork(1, 7, 0) });
    const error = await thrownBy(() => planRecovery(toMinute(40, { backups: [early], wal: holdings })));
    expect(error).toMatchObject({ code: 'WAL_MISSING', facts: { firstMissing: segment(1, 5), lastMissing: segment(1, 6) } });
  });

  it('planRecovery passes over a timeline that was left in the segment where it began', async () => {
    const histories = { 2: fork(1, 7, 0x500), 3: fork(1, 7, 0x500) + fork(2, 7, 0x900) };
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: wal([...segments(1, 2, 7), ...segments(3, 7, 8)], histories) }));
    expect(plan.view.segments.map((range) => [range.timeline, range.count])).toEqual([
      [1, 5],
      [3, 2],
    ]);
    expect(plan.view.histories.toSorted()).toEqual(['00000002.history', '00000003.history']);
  });

  it('planRecovery goes on from the newest timeline when the history of one between is lost', async () => {
    const onNewest = backup({ timeline: 3, startSegment: 8, finishMinute: 30 });
    const holdings = wal([...segments(1, 2, 9), ...segments(3, 7, 9)], { 3: fork(1, 7, 0x500) });
    const plan = await planRecovery(toMinute(40, { backups: [early, onNewest], wal: holdings }));
    expect(plan).toMatchObject({ timeline: 3, backup: { name: onNewest.name } });
    const before = await planRecovery(toMinute(20, { backups: [early, onNewest], wal: holdings }));
    expect(before.view.segments.map((range) => range.timeline)).toEqual([1, 3]);
  });

  it('planRecovery names the missing segments of an old timeline exactly, when it was left in the middle of one', async () => {
    const histories = { 2: fork(1, 7, 0x500) };
    const atEnd = wal([...segments(1, 2, 5), ...segments(2, 7, 9)], histories);
    const error = await thrownBy(() => planRecovery(toMinute(40, { backups: [early], wal: atEnd })));
    expect(error.facts).toMatchObject({ firstMissing: segment(1, 6), lastMissing: segment(1, 6) });
    const between = wal([...segments(1, 2, 3), ...segments(1, 5, 6), ...segments(2, 7, 9)], histories);
    const other = await thrownBy(() => planRecovery(toMinute(40, { backups: [early], wal: between })));
    expect(other.facts).toMatchObject({ firstMissing: segment(1, 4), lastMissing: segment(1, 4) });
  });

  it('planRecovery leaves a sibling timeline out of its path, but not its history file, which PostgreSQL asks for', async () => {
    const histories = { 2: fork(1, 5, 0x500), 3: fork(1, 7, 0x500) };
    const holdings = wal([...segments(1, 2, 7), ...segments(2, 5, 9), ...segments(3, 7, 8)], histories);
    const plan = await planRecovery(toMinute(20, { backups: [early], wal: holdings }));
    expect(plan.timeline).toBe(3);
    expect(plan.view.segments.map((range) => range.timeline)).toEqual([1, 3]);
    expect(plan.view.histories).toEqual(['00000002.history', '00000003.history']);
  });

  it('planRecovery refuses a damaged history file of the timeline it needs', async () => {
    const holdings = wal(segments(1, 2, 9), { 2: 'rubbish\n' });
    expect((await thrownBy(() => planRecovery(toMinute(20, { backups: [early], wal: holdings })))).code).toBe('OBJECT_DAMAGED');
  });
});

describe('a view', () => {
  const view = {
    segments: [
      { timeline: 1, first: segment(1, 2), last: segment(1, 6), count: 5 },
      { timeline: 2, first: segment(2, 7), last: segment(2, 9), count: 3 },
    ],
    histories: [],
  };

  it('viewHolds knows the segments of its ranges and no other', () => {
    for (const name of [segment(1, 2), segment(1, 6)]) expect(viewHolds(view, { timeline: 1, name })).toBe(true);
    for (const name of [segment(1, 1), segment(1, 7)]) expect(viewHolds(view, { timeline: 1, name })).toBe(false);
    expect(viewHolds(view, { timeline: 2, name: segment(2, 7) })).toBe(true);
    expect(viewHolds(view, { timeline: 2, name: segment(2, 6) })).toBe(false);
    expect(viewHolds(view, { timeline: 3, name: segment(3, 7) })).toBe(false);
  });

  it('lastSegmentOf and segmentCountOf look at all ranges', () => {
    expect(lastSegmentOf(view)).toBe(segment(2, 9));
    expect(segmentCountOf(view)).toBe(8);
    expect(lastSegmentOf({ segments: [], histories: [] })).toBeUndefined();
    expect(segmentCountOf({ segments: [], histories: [] })).toBe(0);
  });
});

describe('planRecovery to a position, a restore point or the end of a base backup', () => {
  const backups = [backup({ startSegment: 2, finishMinute: 10 }), backup({ startSegment: 5, finishMinute: 20 })];
  const archive = { backups, wal: wal(segments(1, 2, 8)) };
  const plan = (more: Partial<PlanOptions>) => planRecovery({ ...toLatest(archive), ...more });

  it.each<[string, Partial<PlanOptions>, number]>([
    ['a position after both backups', { target: { kind: 'lsn', lsn: positionIn(6, 0) } }, 1],
    ['a position between the backups', { target: { kind: 'lsn', lsn: positionIn(4, 0) } }, 0],
    ['the very end of a backup', { target: { kind: 'lsn', lsn: positionIn(5, 0x150) } }, 1],
    ['a restore point between the backups', { target: { kind: 'name', name: 'x' }, restorePointLsn: positionIn(4, 0) }, 0],
    ['a restore point that was made by hand', { target: { kind: 'name', name: 'x' } }, 1],
    ['a transaction', { target: { kind: 'xid', xid: '734' } }, 1],
    ['the end of a base backup', { target: { kind: 'immediate' } }, 1],
    ['the end of a certain base backup', { target: { kind: 'immediate' }, backup: backups[0]!.name }, 0],
  ])('planRecovery takes the newest backup that ended before %s', async (_what, options, index) => {
    expect((await plan(options)).backup.name).toBe(backups[index]!.name);
  });

  it('planRecovery names the first restorable position when the target lies before it', async () => {
    const error = await thrownBy(() => plan({ target: { kind: 'lsn', lsn: positionIn(2, 0x100) } }));
    expect(error).toMatchObject({ code: 'NO_BACKUP_BEFORE_TARGET', facts: { firstRestorableLsn: positionIn(2, 0x150) } });
  });

  it('planRecovery refuses a backup that the archive does not hold', async () => {
    expect(await thrownBy(() => plan({ backup: 'base_0000000100000000000000FF' }))).toMatchObject({ code: 'NO_BACKUP' });
  });

  it('planRecovery goes up to a hole and not over it', async () => {
    const holed = wal([...segments(1, 2, 6), ...segments(1, 8, 9)]);
    expect((await plan({ wal: holed, target: { kind: 'lsn', lsn: positionIn(6, 0x500) } })).holeAfterView).toBeDefined();
    expect((await plan({ wal: holed, target: { kind: 'immediate' } })).holeAfterView).toBeDefined();
    for (const target of [
      { kind: 'lsn', lsn: positionIn(7, 0) },
      { kind: 'xid', xid: '734' },
    ] as const)
      expect(await thrownBy(() => plan({ wal: holed, target }))).toMatchObject({
        code: 'WAL_MISSING',
        facts: { firstMissing: segment(1, 7) },
      });
  });
});

describe('planRecovery on a chosen timeline', () => {
  const backups = [backup({ startSegment: 2, finishMinute: 10 }), backup({ timeline: 2, startSegment: 7, finishMinute: 30 })];
  const holdings = wal([...segments(1, 2, 9), ...segments(2, 5, 9)], { 2: fork(1, 5, 0x80) });
  const plan = (more: Partial<PlanOptions>) => planRecovery({ ...toLatest({ backups, wal: holdings }), ...more });

  it('planRecovery takes the newest by default, another by its number, and the one of the backup as current', async () => {
    expect(await plan({})).toMatchObject({ timeline: 2, backup: { timeline: 2 } });
    const old = await plan({ timeline: 1 });
    expect(old).toMatchObject({
      timeline: 1,
      backup: { timeline: 1 },
      view: { segments: [{ timeline: 1, last: segment(1, 9) }], histories: [] },
    });
    expect(await plan({ timeline: 'current', backup: backups[0]!.name })).toMatchObject({ timeline: 1 });
    expect(await plan({ backup: backups[0]!.name })).toMatchObject({ timeline: 2, view: { segments: [{ timeline: 1 }, { timeline: 2 }] } });
  });

  it('planRecovery refuses a timeline that the archive does not know, and names those it knows', async () => {
    const error = await thrownBy(() => plan({ timeline: 7 }));
    expect(error.code).toBe('TARGET_UNREACHABLE');
    expect(error.message).toContain('1, 2');
  });
});
