import { describe, expect, it } from 'vitest';
import type { BackupWindow } from '../../src/domain/archive-window.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import {
  estimateRestore,
  nearestInstants,
  segmentOfView,
  segmentsToTarget,
  walCheck,
  whyThisBackup,
} from '../../src/domain/plan-outline.ts';
import { planRecovery, type RecoveryPlan, segmentCountOf } from '../../src/domain/recovery-plan.ts';
import type { RecoveryTarget } from '../../src/domain/recovery-target.ts';
import { backup, fork, minute, positionIn, segment, segments, toLatest, toMinute, wal } from './support/archive.ts';

const mebibyte = 1024 * 1024;
const first = backup({ startSegment: 2, finishMinute: 10 });
const second = backup({ startSegment: 6, finishMinute: 30 });
const at = (count: number): RecoveryTarget => ({ kind: 'time', time: minute(count) });
/** Segment 2 was closed at minute 12, 3 at 13, and so on. */
const closedAt = async (name: string) => minute(Number.parseInt(name.slice(16), 16) + 10);

async function planTo(count: number, closedAtMinutes: Readonly<Record<string, number>> = {}): Promise<RecoveryPlan> {
  return await planRecovery(toMinute(count, { backups: [first, second], wal: wal(segments(1, 2, 19)), closedAtMinutes }));
}

describe('segmentsToTarget', () => {
  const lookUp = { closedAt, restorePointLsn: undefined };

  it.each([
    [11, 1],
    [11.98, 1],
    // Closed within the second after the target: a commit stamped before it may lie behind.
    [11.99, 2],
    [12, 2],
    [20.5, 10],
    [28.9, 18],
    [100, 18],
  ])('segmentsToTarget for minute %s is %s, by the closing times around it', async (count, expected) => {
    const plan = await planTo(Math.min(count, 29));
    expect(await segmentsToTarget(plan, at(count), lookUp)).toBe(expected);
  });

  it('segmentsToTarget asks for few closing times however many segments there are', async () => {
    const plan = await planRecovery(toMinute(20, { backups: [first], wal: wal(segments(1, 2, 4000)) }));
    const asked: string[] = [];
    const counted = { ...lookUp, closedAt: async (name: string) => (asked.push(name), closedAt(name)) };
    expect(await segmentsToTarget(plan, at(200), counted)).toBe(190);
    expect(asked.length).toBeLessThan(14);
  });

  it.each([
    [{ kind: 'latest' }, undefined, 18],
    [{ kind: 'immediate' }, undefined, 1],
    [{ kind: 'lsn', lsn: positionIn(9, 0x10) }, undefined, 8],
    [{ kind: 'name', name: 'x' }, positionIn(4, 0x10), 3],
    [{ kind: 'name', name: 'x' }, undefined, null],
    [{ kind: 'xid', xid: '734' }, undefined, null],
  ] as const)('segmentsToTarget for %j with a restore point at %s is %s', async (target, restorePointLsn, expected) => {
    expect(await segmentsToTarget(await planTo(20), target, { closedAt, restorePointLsn })).toBe(expected);
  });

  it('segmentsToTarget is not known when nobody noted closing times', async () => {
    expect(await segmentsToTarget(await planTo(20), at(20), { ...lookUp, closedAt: async () => undefined })).toBeNull();
  });

  it('segmentOfView counts over a fork', async () => {
    const holdings = wal([...segments(1, 2, 5), ...segments(2, 5, 8)], { 2: fork(1, 5, 0x100) });
    const plan = await planRecovery(toLatest({ backups: [first], wal: holdings }));
    const all = Array.from({ length: segmentCountOf(plan.view) }, (_, index) => segmentOfView(plan, index));
    expect(all).toEqual([...segments(1, 2, 4), ...segments(2, 5, 8)]);
    expect(() => segmentOfView(plan, all.length)).toThrow(RangeError);
  });
});

describe('whyThisBackup', () => {
  it('whyThisBackup counts what ended after the target and what cannot be read', async () => {
    const facts = { plan: await planTo(20), target: at(20), backups: [first, second], damaged: ['base_x'], isNamed: false };
    expect(whyThisBackup(facts)).toBe(
      'Of 2 base backups it is the newest usable one that ended before 2026-11-22 10:20:00 UTC: it ended 2026-11-22 10:10:00 UTC. 1 ended after the target. 1 cannot be read: base_x.',
    );
  });

  it('whyThisBackup tells of newer ones that could not be used, and of one that was named', async () => {
    const plan = await planRecovery({ ...toLatest({ backups: [first, second], wal: wal(segments(1, 2, 5)) }), target: { kind: 'latest' } });
    const facts = { plan, target: { kind: 'latest' } as const, backups: [first, second], damaged: [], isNamed: false };
    expect(whyThisBackup(facts)).toContain('1 newer ones lie on another timeline, lack WAL, or ended after it.');
    expect(whyThisBackup({ ...facts, isNamed: true })).toBe('The request names it; it ended 2026-11-22 10:10:00 UTC.');
  });
});

describe('walCheck', () => {
  const request = { cluster: 'shop', source: 'keep', onEarlyEnd: 'promote-if-complete' } as const;
  const reaching = { [segment(1, 19)]: 29 };

  it('walCheck is sure when the last segment was closed after the target', async () => {
    expect(walCheck(await planTo(20, reaching), { ...request, target: at(20) })).toMatchObject({ verdict: 'ok' });
    expect(walCheck(await planTo(20, reaching), { ...request, target: at(20) }).text).toContain('All 18 segments');
  });

  it.each([
    ['keep', 'ok', 'when shop closes its segment for the restore, which a plan does not do'],
    ['stop', 'ok', 'when shop is stopped for the restore'],
    ['leave', 'warning', 'Nothing proves that the WAL up to'],
  ] as const)('walCheck with the source "%s" says "%s" of a target behind the last closing time', async (source, verdict, text) => {
    const check = walCheck(await planTo(29, reaching), { ...request, source, target: at(29) });
    expect(check.verdict).toBe(verdict);
    expect(check.text).toContain(text);
  });

  it.each([
    [{ kind: 'latest' }, 'ok'],
    [{ kind: 'immediate' }, 'ok'],
    [{ kind: 'lsn', lsn: positionIn(19, 0x10) }, 'ok'],
    [{ kind: 'lsn', lsn: positionIn(20, 0x10) }, 'warning'],
    [{ kind: 'xid', xid: '734' }, 'warning'],
  ] as const)('walCheck for %j, with the source left alone, says "%s"', async (target, verdict) => {
    expect(walCheck(await planTo(20), { ...request, source: 'leave', target }).verdict).toBe(verdict);
  });

  it('walCheck is sure of a target behind the last closing time when a record is dated after it', async () => {
    const laterRecord = { kind: 'checkpoint', lsn: positionIn(19, 0x28), time: minute(31) } as const;
    const check = walCheck(await planTo(29, reaching), { ...request, source: 'leave', target: at(29), laterRecord });
    expect(check.verdict).toBe('ok');
    expect(check.text).toContain(`The checkpoint at ${positionIn(19, 0x28)} is dated`);
  });

  it('walCheck names a hole that the target does not need', async () => {
    const holdings = wal([...segments(1, 2, 5), ...segments(1, 8, 9)]);
    const plan = await planRecovery(toMinute(11, { backups: [first], wal: holdings, closedAtMinutes: { [segment(1, 5)]: 15 } }));
    expect(walCheck(plan, { ...request, target: at(11) }).text).toContain(`Behind it ${segment(1, 6)} to ${segment(1, 7)} are missing`);
  });
});

describe('nearestInstants', () => {
  const reach = (from: number, to: number | undefined, isUsable = true): BackupWindow => ({
    backup: `base-${from}`,
    isUsable,
    deltaFrom: undefined,
    isPermanent: false,
    from: minute(from),
    fromLsn: '0/0',
    toSegment: undefined,
    toLsn: undefined,
    timeline: 1,
    toClosedAt: to === undefined ? undefined : minute(to),
  });
  const backups = [reach(10, 20), reach(30, 40), reach(32, 35), reach(50, 60, false), reach(70, undefined)];
  const secondBefore = (count: number) => parseInstant(new Date(Date.parse(minute(count)) - 1000).toISOString());

  it.each([
    [5, null, minute(10)],
    [10, null, minute(10)],
    [20, secondBefore(20), minute(30)],
    [25, secondBefore(20), minute(30)],
    [30, secondBefore(20), minute(30)],
    [45, secondBefore(40), null],
    [55, secondBefore(40), null],
  ])('nearestInstants to minute %s are %s and %s', (count, before, after) => {
    expect(nearestInstants({ backups }, at(count))).toEqual({ before, after });
  });

  it.each([11, 15, 31, 39.9])('nearestInstants are none when minute %s can be restored', (count) => {
    expect(nearestInstants({ backups }, at(count))).toBeNull();
  });

  it('nearestInstants are none when the target is no instant', () => {
    expect(nearestInstants({ backups }, { kind: 'latest' })).toBeNull();
  });
});

describe('estimateRestore', () => {
  const unmeasured = { fetch: undefined, replay: undefined };

  it('estimateRestore goes by what earlier restores took, where they tell it, and says which', () => {
    const bytes = {
      backupStoredBytes: 200 * mebibyte,
      backupRestoredBytes: 9000 * mebibyte,
      walStoredBytes: 10 * mebibyte,
      walBytes: 640 * mebibyte,
    };
    const fetch = { bytesPerSecond: 20 * mebibyte, restores: 3 };
    expect(estimateRestore(bytes, { fetch, replay: undefined })).toMatchObject({
      fetchMilliseconds: 10_000,
      replayMilliseconds: 10_000,
      rates: { fetch, replay: { restores: 0 } },
    });
    const replay = { bytesPerSecond: 160 * mebibyte, restores: 1 };
    expect(estimateRestore(bytes, { fetch, replay })).toMatchObject({ replayMilliseconds: 4000, rates: { fetch, replay } });
  });

  it('estimateRestore counts what travels and what is replayed, by the slower of network and disk', () => {
    const bytes = {
      backupStoredBytes: 200 * mebibyte,
      backupRestoredBytes: 1000 * mebibyte,
      walStoredBytes: 100 * mebibyte,
      walBytes: 640 * mebibyte,
    };
    const assumed = (mebibytes: number) => ({ bytesPerSecond: mebibytes * mebibyte, restores: 0 });
    expect(estimateRestore(bytes, unmeasured)).toEqual({
      fetchBytes: 300 * mebibyte,
      replayBytes: 640 * mebibyte,
      fetchMilliseconds: 5000,
      replayMilliseconds: 10_000,
      otherMilliseconds: 5000,
      totalMilliseconds: 20_000,
      rates: { fetch: assumed(100), replay: assumed(64) },
    });
    expect(estimateRestore({ ...bytes, backupStoredBytes: 900 * mebibyte }, unmeasured).fetchMilliseconds).toBe(9000);
  });
});
