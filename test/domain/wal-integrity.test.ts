import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BaseBackup } from '../../src/domain/base-backup.ts';
import { planRecovery } from '../../src/domain/recovery-plan.ts';
import { isNeeded, walIntegrity } from '../../src/domain/wal-integrity.ts';
import { parseWalSegmentName } from '../../src/domain/wal-segment.ts';
import { backup, fork, segment, segments, toLatest, wal } from './support/archive.ts';

const holesOf = (backups: readonly BaseBackup[], holdings: ReturnType<typeof wal>) =>
  walIntegrity(backups, holdings).timelines.flatMap(({ holes }) => holes);

describe('walIntegrity', () => {
  it('walIntegrity finds nothing missing in an archive that is whole', () => {
    const backups = [backup({ startSegment: 3, finishMinute: 1 }), backup({ startSegment: 6, finishMinute: 2 })];
    const integrity = walIntegrity(backups, wal(segments(1, 1, 9)));
    expect(integrity.backups.map(({ isUsable, lastSegment, endLsn }) => [isUsable, lastSegment, endLsn])).toEqual([
      [true, segment(1, 9), '0/A000000'],
      [true, segment(1, 9), '0/A000000'],
    ]);
    expect(integrity.timelines).toMatchObject([
      { timeline: 1, holes: [], historyMissing: undefined, needed: [{ first: segment(1, 3), last: segment(1, 9), count: 7 }] },
    ]);
    expect([isNeeded(integrity, segment(1, 2)), isNeeded(integrity, segment(1, 3)), isNeeded(integrity, segment(2, 5))]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it('walIntegrity names a hole by its first and last segment, and the backups whose way leads over it', () => {
    const backups = [backup({ startSegment: 3, finishMinute: 1 }), backup({ startSegment: 8, finishMinute: 2 })];
    const holdings = wal([...segments(1, 1, 4), ...segments(1, 7, 9)]);
    expect(holesOf(backups, holdings)).toEqual([
      { timeline: 1, first: segment(1, 5), last: segment(1, 6), count: 2, backups: [backups[0]!.name] },
    ]);
    const [first, second] = walIntegrity(backups, holdings).backups;
    expect(first).toMatchObject({ isUsable: true, lastSegment: segment(1, 4), endLsn: '0/5000000' });
    expect(second).toMatchObject({ isUsable: true, lastSegment: segment(1, 9), missing: [] });
  });

  it('walIntegrity says that a backup is not usable when a segment up to its finish is missing or not there yet', () => {
    const spanning = backup({ startSegment: 3, finishSegment: 5, finishMinute: 1 });
    const [inside] = walIntegrity([spanning], wal([...segments(1, 3, 3), ...segments(1, 5, 9)])).backups;
    expect(inside).toMatchObject({ isUsable: false, lastSegment: segment(1, 3) });
    const [pending] = walIntegrity([spanning], wal(segments(1, 3, 4))).backups;
    expect(pending).toMatchObject({ isUsable: false, missing: [{ first: segment(1, 5), last: segment(1, 5) }] });
    const [gone] = walIntegrity([spanning], wal([])).backups;
    expect(gone).toMatchObject({ isUsable: false, lastSegment: undefined, endLsn: undefined });
  });

  it('walIntegrity follows a backup over a fork, and needs the segment of the fork on the new timeline only', () => {
    const old = backup({ startSegment: 3, finishMinute: 1 });
    const holdings = wal([...segments(1, 3, 5), ...segments(2, 6, 8)], { 2: fork(1, 6, 0x100) });
    const integrity = walIntegrity([old], holdings);
    expect(integrity.backups).toMatchObject([{ timeline: 2, lastSegment: segment(2, 8), missing: [] }]);
    expect(holesOf([old], wal([...segments(1, 3, 5), ...segments(2, 7, 8)], { 2: fork(1, 6, 0x100) }))).toMatchObject([
      { timeline: 2, first: segment(2, 6), last: segment(2, 6) },
    ]);
  });

  it('walIntegrity tells of a backup that was left behind on its own branch how far that branch goes', () => {
    const left = backup({ startSegment: 8, finishMinute: 1 });
    const current = backup({ timeline: 2, startSegment: 7, finishMinute: 2 });
    const holdings = wal([...segments(1, 1, 9), ...segments(2, 5, 12)], { 2: fork(1, 5, 0x100) });
    expect(walIntegrity([left, current], holdings).backups).toMatchObject([
      { timeline: 1, lastSegment: segment(1, 9) },
      { timeline: 2, lastSegment: segment(2, 12) },
    ]);
  });

  it('walIntegrity names the history file without which older backups do not find a timeline', () => {
    const backups = [backup({ startSegment: 3, finishMinute: 1 }), backup({ timeline: 2, startSegment: 7, finishMinute: 2 })];
    const names = [...segments(1, 3, 5), ...segments(2, 6, 8)];
    const missing = (histories: Readonly<Record<number, string>>, among = backups) =>
      walIntegrity(among, wal(names, histories)).timelines.map(({ historyMissing }) => historyMissing);
    expect(missing({})).toEqual([undefined, '00000002.history']);
    expect(missing({ 2: 'no history at all' })).toEqual([undefined, '00000002.history']);
    expect(missing({ 2: fork(1, 6, 0x100) })).toEqual([undefined, undefined]);
    expect(missing({}, backups.slice(1))).toEqual([undefined, undefined]);
  });

  const stories = fc.record({
    forkSegment: fc.integer({ min: 4, max: 9 }),
    missing: fc.uniqueArray(fc.integer({ min: 1, max: 14 }), { maxLength: 5 }),
    starts: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }),
    lengthSegments: fc.integer({ min: 0, max: 2 }),
  });

  it('walIntegrity agrees with the planner: what it calls usable is planned, and reaches as far', async () => {
    await fc.assert(
      fc.asyncProperty(stories, async ({ forkSegment, missing, starts, lengthSegments }) => {
        const timelineAt = (number: number) => (number < forkSegment ? 1 : 2);
        const present = Array.from({ length: 14 }, (_, index) => index + 1).filter((number) => !missing.includes(number));
        const holdings = wal(
          present.map((number) => segment(timelineAt(number), number)),
          { 2: fork(1, forkSegment, 0x100) },
        );
        for (const startSegment of starts) {
          const finishSegment = startSegment + lengthSegments;
          // A backup that spans the fork could not have been taken.
          if (timelineAt(startSegment) !== timelineAt(finishSegment)) continue;
          const one = backup({ timeline: timelineAt(startSegment), startSegment, finishSegment, finishMinute: 1 });
          const [reach] = walIntegrity([one], holdings).backups;
          const plan = await planRecovery(toLatest({ backups: [one], wal: holdings })).catch((error: { code: string }) => error.code);
          const needed = Array.from({ length: 15 - startSegment }, (_, index) => startSegment + index);
          const firstMissing = needed.find((number) => !present.includes(number)) ?? 15;
          expect(reach!.isUsable).toBe(plan !== 'NO_BACKUP');
          expect(reach!.isUsable).toBe(firstMissing > finishSegment);
          const last = reach!.lastSegment === undefined ? startSegment - 1 : Number(parseWalSegmentName(reach!.lastSegment).number);
          expect(last).toBe(firstMissing - 1);
          const planned = typeof plan === 'string' ? reach!.lastSegment : plan.view.segments.at(-1)?.last;
          expect(planned).toBe(reach!.lastSegment);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('walIntegrity stays fast with three hundred backups and 200 000 segments', () => {
    const names = segments(1, 1, 200_000);
    const backups = Array.from({ length: 300 }, (_, index) => backup({ startSegment: 1 + index * 600, finishMinute: index + 1 }));
    const startedMs = performance.now();
    const integrity = walIntegrity(backups, wal(names));
    expect(integrity.backups.every(({ isUsable }) => isUsable)).toBe(true);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });
});
