import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import {
  assertTargetHasPassed,
  completeTarget,
  describeTarget,
  parseRecoveryTarget,
  type RecoveryTarget,
} from '../../src/domain/recovery-target.ts';
import { thrownBy } from './support/thrown.ts';

const time = parseInstant('2026-11-22T11:57:00.25Z');

describe('parseRecoveryTarget', () => {
  it('parseRecoveryTarget reads an instant or the word latest', () => {
    expect(parseRecoveryTarget(' latest ')).toEqual({ kind: 'latest' });
    expect(parseRecoveryTarget('2026-11-22 13:57:00.25+02')).toEqual({ kind: 'time', time });
  });

  it.each<[string, RecoveryTarget]>([
    ['immediate', { kind: 'immediate' }],
    ['lsn:0/3000028', { kind: 'lsn', lsn: '0/3000028' }],
    ['lsn: 00000001/0a', { kind: 'lsn', lsn: '1/A' }],
    ['xid:734', { kind: 'xid', xid: '734' }],
    ['xid:4294968030', { kind: 'xid', xid: '4294968030' }],
    ["name:it's before the drop", { kind: 'name', name: "it's before the drop" }],
  ])('parseRecoveryTarget reads %j', (text, target) => {
    expect(parseRecoveryTarget(text)).toEqual(target);
  });

  it.each([
    ['now', '2026-11-22T12:00:00.125Z'],
    ['5 minutes ago', '2026-11-22T11:55:00.125Z'],
    ['90s ago', '2026-11-22T11:58:30.125Z'],
    ['2 hours ago', '2026-11-22T10:00:00.125Z'],
    ['1 day ago', '2026-11-21T12:00:00.125Z'],
  ])('parseRecoveryTarget resolves %j once, by the clock given', (text, instant) => {
    const now = new Date('2026-11-22T12:00:00.125Z');
    expect(parseRecoveryTarget(text, { now })).toEqual({ kind: 'time', time: parseInstant(instant) });
  });

  it('parseRecoveryTarget leaves the target itself out when told to', () => {
    expect(parseRecoveryTarget('xid:734', { inclusive: false })).toEqual({ kind: 'xid', xid: '734', inclusive: false });
    expect(parseRecoveryTarget('xid:734', { inclusive: true })).toEqual({ kind: 'xid', xid: '734' });
  });

  it.each(['latest', 'immediate', 'name:x'])('parseRecoveryTarget refuses %j with inclusive or exclusive', async (text) => {
    expect(await thrownBy(() => parseRecoveryTarget(text, { inclusive: false }))).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(await thrownBy(() => completeTarget({ ...parseRecoveryTarget(text), inclusive: false } as RecoveryTarget))).toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });

  it.each(['lsn:3000028', 'lsn:', 'xid:0', 'xid:2', 'xid:4294967297', 'xid:7e2', 'xid:-7', 'name:', `name:${'x'.repeat(64)}`, 'name:a\nb'])(
    'parseRecoveryTarget refuses %j',
    async (text) => {
      expect((await thrownBy(() => parseRecoveryTarget(text))).code).toBe('INVALID_REQUEST');
    },
  );

  it.each(['LATEST', 'minutes ago', '-5 minutes ago', '', '2026-11-22 11:57:00', '0/3000028'])(
    'parseRecoveryTarget refuses %j',
    async (text) => {
      expect((await thrownBy(() => parseRecoveryTarget(text))).code).toBe('INVALID_INSTANT');
    },
  );
});

describe('describeTarget', () => {
  it('describeTarget names the instant in UTC or the end of the WAL', () => {
    expect(describeTarget({ kind: 'time', time })).toBe('2026-11-22 11:57:00.25 UTC');
    expect(describeTarget({ kind: 'latest' })).toBe('the end of the archived WAL');
    expect(describeTarget({ kind: 'xid', xid: '734', inclusive: false })).toBe('transaction 734, itself left out');
    expect(describeTarget({ kind: 'name', name: 'before' })).toBe('the restore point "before"');
  });
});

describe('assertTargetHasPassed', () => {
  it('assertTargetHasPassed accepts now and refuses one microsecond after it', async () => {
    expect(() => assertTargetHasPassed({ kind: 'time', time }, time)).not.toThrow();
    expect(() => assertTargetHasPassed({ kind: 'latest' }, time)).not.toThrow();
    const later = parseInstant('2026-11-22T11:57:00.250001Z');
    const error = await thrownBy(() => assertTargetHasPassed({ kind: 'time', time: later }, time));
    expect(error).toMatchObject({ code: 'TARGET_IN_FUTURE', facts: { target: later, now: time } });
    expect(error.message).toContain('2026-11-22 11:57:00.250001 UTC');
  });
});
