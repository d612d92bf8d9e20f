import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import { whyCommitLost, whyCommitTooLate, whyLandedWrong, whyNotLater } from '../../src/domain/landing-proof.ts';
import type { RecoveryStop } from '../../src/domain/recovery-events.ts';
import type { RecoveryTarget } from '../../src/domain/recovery-target.ts';

const time = parseInstant('2026-11-22T11:57:00Z');
const toTime: RecoveryTarget = { kind: 'time', time };
const beforeCommit: RecoveryStop = { kind: 'before', record: 'commit', xid: '734', time: parseInstant('2026-11-22T11:57:11Z') };

describe('whyCommitTooLate', () => {
  it('whyCommitTooLate allows commits up to and including the target', () => {
    expect(whyCommitTooLate(toTime, undefined)).toBeUndefined();
    expect(whyCommitTooLate(toTime, '2026-11-22 11:56:59.999999+00')).toBeUndefined();
    expect(whyCommitTooLate(toTime, '2026-11-22 12:57:00+01')).toBeUndefined();
  });

  it('whyCommitTooLate forbids a commit one microsecond after the target, and at it when that is to be left out', () => {
    expect(whyCommitTooLate(toTime, '2026-11-22 11:57:00.000001+00')).toContain('was kept');
    expect(whyCommitTooLate({ ...toTime, inclusive: false }, '2026-11-22 11:57:00+00')).toContain('was kept');
  });

  it('whyCommitTooLate asks nothing of the latest target', () => {
    expect(whyCommitTooLate({ kind: 'latest' }, '2099-01-01T00:00:00Z')).toBeUndefined();
  });
});

describe('whyLandedWrong', () => {
  it.each<[string, RecoveryTarget, RecoveryStop]>([
    ['a time', toTime, beforeCommit],
    ['a transaction', { kind: 'xid', xid: '734' }, { ...beforeCommit, kind: 'after' }],
    ['a transaction by its 64-bit id', { kind: 'xid', xid: '4294968030' }, { ...beforeCommit, kind: 'after' }],
    ['a position', { kind: 'lsn', lsn: '0/5000028' }, { kind: 'after-lsn', lsn: '0/5000028' }],
    ['a position between two records', { kind: 'lsn', lsn: '0/5000028' }, { kind: 'before-lsn', lsn: '0/5000060' }],
    ['a restore point', { kind: 'name', name: 'x' }, { kind: 'restore-point', name: 'x', time }],
    ['the end of the base backup', { kind: 'immediate' }, { kind: 'consistency' }],
  ])('whyLandedWrong finds nothing wrong with a stop at %s', (_what, target, stop) => {
    expect(whyLandedWrong(target, { stop, lastCommitKept: undefined })).toBeUndefined();
  });

  it.each<[string, RecoveryTarget, RecoveryStop | undefined]>([
    ['no place is named', toTime, undefined],
    ['another transaction', { kind: 'xid', xid: '735' }, beforeCommit],
    ['a position before', { kind: 'lsn', lsn: '0/5000028' }, { kind: 'after-lsn', lsn: '0/5000027' }],
    ['another restore point', { kind: 'name', name: 'y' }, { kind: 'restore-point', name: 'x', time }],
    ['a transaction instead of the end of the base backup', { kind: 'immediate' }, beforeCommit],
  ])('whyLandedWrong tells of %s', (_what, target, stop) => {
    expect(whyLandedWrong(target, { stop, lastCommitKept: undefined })).toMatch(/stopped|names no place/);
  });
});

describe('whyCommitLost', () => {
  const facts = { lastCommitKept: '2026-11-22 11:57:00+00', backupFinish: '2026-11-22T11:00:00Z' };

  it('whyCommitLost finds a commit that was replayed, or that the base backup holds', () => {
    for (const commit of [undefined, time, parseInstant('2026-11-22T11:00:00Z')]) expect(whyCommitLost(commit, facts)).toBeUndefined();
  });

  it('whyCommitLost names a commit that comes after the last one that was replayed', () => {
    const commit = parseInstant('2026-11-22T11:57:00.000001Z');
    expect(whyCommitLost(commit, facts)).toContain('11:57:00.000001');
    expect(whyCommitLost(commit, { ...facts, lastCommitKept: undefined })).toContain('was salvaged and not replayed');
  });
});

describe('whyNotLater', () => {
  const paused = { target: toTime, stop: beforeCommit, lastCommitKept: '2026-11-22T11:56:58Z' };

  it.each<[RecoveryTarget]>([
    [{ kind: 'time', time: parseInstant('2026-11-22T11:57:00.000001Z') }],
    [{ kind: 'latest' }],
    [{ kind: 'name', name: 'x' }],
    [{ kind: 'lsn', lsn: '0/5000028' }],
  ])('whyNotLater lets a paused restore go on to %o', (target) => {
    expect(whyNotLater(target, paused)).toBeUndefined();
  });

  it('whyNotLater names where the restore stands when the target is not later', () => {
    expect(whyNotLater(toTime, paused)).toContain('2026-11-22T11:57:00.000000Z');
    expect(whyNotLater({ kind: 'immediate' }, paused)).toContain('behind it');
    const atLsn = { ...paused, target: { kind: 'lsn', lsn: '0/5000028' } as const };
    expect(whyNotLater({ kind: 'lsn', lsn: '0/5000028' }, atLsn)).toContain('0/5000028');
    expect(whyNotLater({ kind: 'time', time: parseInstant('2026-11-22T11:00:00Z') }, atLsn)).toContain('11:56:58');
  });
});
