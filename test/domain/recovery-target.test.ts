import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import { assertTargetHasPassed, describeTarget, parseRecoveryTarget } from '../../src/domain/recovery-target.ts';
import { thrownBy } from './support/thrown.ts';

const time = parseInstant('2026-11-22T11:57:00.25Z');

describe('parseRecoveryTarget', () => {
  it('parseRecoveryTarget reads an instant or the word latest', () => {
    expect(parseRecoveryTarget(' latest ')).toEqual({ kind: 'latest' });
    expect(parseRecoveryTarget('2026-11-22 13:57:00.25+02')).toEqual({ kind: 'time', time });
  });

  it.each(['LATEST', 'now', '', '2026-11-22 11:57:00', '0/3000028'])('parseRecoveryTarget refuses %j', async (text) => {
    expect((await thrownBy(() => parseRecoveryTarget(text))).code).toBe('INVALID_INSTANT');
  });
});

describe('describeTarget', () => {
  it('describeTarget names the instant in UTC or the end of the WAL', () => {
    expect(describeTarget({ kind: 'time', time })).toBe('2026-11-22 11:57:00.25 UTC');
    expect(describeTarget({ kind: 'latest' })).toBe('the end of the archived WAL');
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
