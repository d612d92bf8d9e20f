import { describe, expect, it } from 'vitest';
import { type RecoveryPlan, planRecovery } from '../../src/domain/recovery-plan.ts';
import type { RecoveryTarget } from '../../src/domain/recovery-target.ts';
import { assertMayPassOver, namingUnusable, passedOver, type UnusableBackup, withDependents } from '../../src/domain/unusable-backups.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { backup, fork, minute, positionIn, segment, segments, toLatest, toMinute, wal } from './support/archive.ts';
import { thrownBy } from './support/thrown.ts';

const first = backup({ startSegment: 2, finishMinute: 10 });
const holdings = wal(segments(1, 2, 19));
/** Segment 2 was closed at minute 12, 3 at 13, and so on. */
const closedAt = async (name: string) => minute(Number.parseInt(name.slice(16), 16) + 10);

function unusable(number: number, more: Partial<UnusableBackup> = {}): UnusableBackup {
  const name = `base_${segment(1, number)}`;
  const key = `basebackups_005/${name}_backup_stop_sentinel.json`;
  return { name, key, reason: `${key} is damaged: its seal is wrong.`, code: 'OBJECT_DAMAGED', finishTime: null, ...more };
}

async function namesPassedOver(bad: readonly UnusableBackup[], target: RecoveryTarget, plan?: RecoveryPlan, restorePointLsn?: string) {
  const made = plan ?? (await planRecovery({ ...toLatest({ backups: [first], wal: holdings }) }));
  return (await passedOver({ plan: made, target, unusable: bad, restorePointLsn, closedAt })).map(({ backup: name }) => name);
}

const at = (count: number): RecoveryTarget => ({ kind: 'time', time: minute(count) });

describe('passedOver', () => {
  it.each([
    ['a time after it ended, by the sound document', at(20), { finishTime: minute(16) }, 1],
    ['a time before it ended, by the sound document', at(15.5), { finishTime: minute(16) }, 0],
    // Segment 5, before the one it begins in, was closed at minute 15.
    ['a time after the segment before it was closed', at(15.5), {}, 1],
    ['a time before it can have begun', at(14.5), {}, 0],
    ['the latest', { kind: 'latest' }, {}, 1],
    ['a transaction', { kind: 'xid', xid: '734' }, {}, 1],
    ['a position behind its start', { kind: 'lsn', lsn: positionIn(7, 0) }, {}, 1],
    ['a position before its start', { kind: 'lsn', lsn: positionIn(5, 0x100) }, {}, 0],
    ['any target, of a form that was never supported', { kind: 'latest' }, { code: 'ARCHIVE_FORMAT_UNSUPPORTED' }, 0],
  ] as const)('a damaged backup is passed over by a restore to %s', async (_, target, more, expected) => {
    expect(await namesPassedOver([unusable(6, more)], target)).toHaveLength(expected);
  });

  it('passedOver counts none that is older than the chosen one, or lies behind the WAL, or has the name of no backup', async () => {
    const bad = [unusable(1), unusable(40), { ...unusable(6), name: 'base_x' }];
    expect(await namesPassedOver(bad, { kind: 'latest' })).toEqual([]);
  });

  it('passedOver counts those on the way over the timelines, the oldest first', async () => {
    const forked = wal([...segments(1, 2, 9), ...segments(2, 5, 8)], { 2: fork(1, 5, 0x100) });
    const plan = await planRecovery(toLatest({ backups: [first], wal: forked }));
    const onSecond = { ...unusable(6), name: `base_${segment(2, 6)}` };
    expect(await namesPassedOver([onSecond, unusable(7), unusable(3)], { kind: 'latest' }, plan)).toEqual([
      unusable(3).name,
      onSecond.name,
    ]);
  });

  it('a restore point decides by where it lies', async () => {
    const target = { kind: 'name', name: 'x' } as const;
    expect(await namesPassedOver([unusable(6)], target, undefined, positionIn(5, 0))).toEqual([]);
    expect(await namesPassedOver([unusable(6)], target)).toHaveLength(1);
  });
});

describe('assertMayPassOver', () => {
  const over = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      backup: `base_${segment(1, index + 3)}`,
      key: 'some/key',
      reason: 'some/key is damaged.',
    }));

  it('refuses with the key and the option that goes back, and lets ten pass when that is allowed', async () => {
    const plan = await planRecovery(toMinute(20, { backups: [first], wal: holdings }));
    const refusal = await thrownBy(() => assertMayPassOver(over(1), { plan, isAllowed: false }));
    expect(refusal).toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key: 'some/key', olderBackup: first.name } });
    expect(refusal.hint).toContain('--allow-older-backup');
    expect(() => assertMayPassOver(over(10), { plan, isAllowed: true })).not.toThrow();
    expect(() => assertMayPassOver([], { plan, isAllowed: false })).not.toThrow();
    const tooMany = await thrownBy(() => assertMayPassOver(over(11), { plan, isAllowed: true }));
    expect(tooMany.hint).toContain(`--backup ${first.name}`);
  });
});

describe('withDependents', () => {
  it('a delta of a delta of a damaged backup cannot be used either', () => {
    const delta = { ...backup({ startSegment: 8, finishMinute: 20 }), deltaFrom: unusable(6).name };
    const deeper = { ...backup({ startSegment: 9, finishMinute: 21 }), deltaFrom: delta.name };
    const all = withDependents([unusable(6)], [first, delta, deeper]);
    expect(all.map(({ name }) => name)).toEqual([unusable(6).name, delta.name, deeper.name]);
    expect(all.at(-1)).toMatchObject({
      key: unusable(6).key,
      finishTime: deeper.finishTime,
      reason: expect.stringContaining(unusable(6).reason),
    });
  });
});

describe('namingUnusable', () => {
  it('that no backup fits is told with those that could not be used, and a named one with what is wrong with it', () => {
    const nothing = new WalkbackError('NO_BACKUP', 'The archive holds no base backup.');
    expect(namingUnusable(nothing, [unusable(6)], undefined)).toMatchObject({
      code: 'NO_BACKUP',
      message: expect.stringContaining(unusable(6).reason),
    });
    expect(namingUnusable(nothing, [unusable(6)], unusable(6).name)).toMatchObject({
      code: 'OBJECT_DAMAGED',
      facts: { key: unusable(6).key },
    });
    expect(namingUnusable(nothing, [unusable(6)], 'base_other')).toBe(nothing);
    const other = new WalkbackError('WAL_MISSING', 'A hole.');
    expect(namingUnusable(other, [unusable(6)], undefined)).toBe(other);
  });
});
