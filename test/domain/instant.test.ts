import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatInstant, type Instant, instantOf, microsecondsOf, parseInstant, toPostgresTimestamp } from '../../src/domain/instant.ts';
import { thrownBy } from './support/thrown.ts';

/** Microseconds of four-digit years, away from the ends so that an offset stays inside. */
const microseconds = fc.bigInt({
  min: BigInt(Date.parse('0001-01-02T00:00:00Z')) * 1000n,
  max: BigInt(Date.parse('9999-12-30T00:00:00Z')) * 1000n,
});
const offsetsMinutes = fc.integer({ min: -15 * 60 - 59, max: 15 * 60 + 59 });

describe('parseInstant', () => {
  it.each([
    ['2026-11-22T11:57:00Z', '2026-11-22T11:57:00.000000Z'],
    ['2026-11-22t11:57:00z', '2026-11-22T11:57:00.000000Z'],
    ['2026-11-22T11:57Z', '2026-11-22T11:57:00.000000Z'],
    ['  2026-11-22 11:57:00 Z ', '2026-11-22T11:57:00.000000Z'],
    ['2026-11-22T11:57:00+02:00', '2026-11-22T09:57:00.000000Z'],
    ['2026-11-22T11:57:00-0330', '2026-11-22T15:27:00.000000Z'],
    ['2026-11-22 11:57:00.5+00', '2026-11-22T11:57:00.500000Z'],
    ['2026-11-22 11:57:00.123456-15:59', '2026-11-23T03:56:00.123456Z'],
    ['2026-11-22T11:57:00.123456789Z', '2026-11-22T11:57:00.123456Z'],
    ['2026-01-01T00:30:00+01:00', '2025-12-31T23:30:00.000000Z'],
    ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000000Z'],
    ['1969-12-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z'],
  ])('parseInstant reads %j', (text, instant) => {
    expect(parseInstant(text)).toBe(instant);
  });

  it.each([
    ['2026-11-22T11:57:00', '2026-11-22T11:57:00Z (UTC)', '2026-11-22T11:57:00+02:00'],
    ['2026-11-22 11:57', '2026-11-22T11:57Z (UTC)', '2026-11-22T11:57+02:00'],
    ['2026-11-22', '2026-11-22T00:00Z (UTC)', '2026-11-22T00:00+02:00'],
  ])('parseInstant refuses the bare time %j and shows both readings', async (text, inUtc, withOffset) => {
    const error = await thrownBy(() => parseInstant(text));
    expect(error.code).toBe('INVALID_INSTANT');
    expect(error.message).toContain(`"${text}" has no offset`);
    expect(error.hint).toContain(inUtc);
    expect(error.hint).toContain(withOffset);
  });

  it('parseInstant accepts both readings that its hint proposes', () => {
    expect(parseInstant('2026-11-22T00:00Z')).toBe('2026-11-22T00:00:00.000000Z');
    expect(parseInstant('2026-11-22T00:00+02:00')).toBe('2026-11-21T22:00:00.000000Z');
  });

  it.each([
    '2026-02-29T12:00:00Z',
    '2026-02-30T12:00:00Z',
    '2026-04-31T12:00:00+02:00',
    '2026-00-10T12:00:00Z',
    '2026-13-10T12:00:00Z',
    '2026-11-00T12:00:00Z',
    '2026-11-22T24:00:00Z',
    '2026-11-22T25:00:00Z',
    '2026-11-22T11:60:00Z',
    '2026-11-22T11:57:60Z',
    '2026-11-22T11:57:00+16:00',
    '2026-11-22T11:57:00+01:60',
    '9999-12-31T23:59:59-01:00',
    '0001-01-01T00:00:00+01:00',
    '0000-01-01T00:00:00Z',
  ])('parseInstant refuses %j: no moment of the calendar', async (text) => {
    const error = await thrownBy(() => parseInstant(text));
    expect(error).toMatchObject({ code: 'INVALID_INSTANT', message: `"${text}" is not a moment of the calendar.` });
  });

  it.each([
    '',
    'now',
    'yesterday',
    '1763812620',
    '22.11.2026 11:57',
    '2026-11-22T11:57:00 CET',
    '2026-11-22T11:57:00,5Z',
    '26-11-22T11:57Z',
  ])('parseInstant refuses %j', async (text) => {
    expect((await thrownBy(() => parseInstant(text))).code).toBe('INVALID_INSTANT');
  });

  it('parseInstant throws nothing but INVALID_INSTANT on any text', async () => {
    const digits = fc.stringMatching(/^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?$/);
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), digits), async (text) => {
        const outcome = await thrownBy(() => parseInstant(text)).then(
          (error) => error.code,
          (error: Error) => error.message,
        );
        expect(['INVALID_INSTANT', 'nothing was thrown']).toContain(outcome);
      }),
    );
  });
});

describe('an instant', () => {
  it('parseInstant gives the same instant whatever offset it is written with', () => {
    fc.assert(
      fc.property(microseconds, offsetsMinutes, (value, offsetMinutes) => {
        const instant = instantOfMicroseconds(value);
        expect(parseInstant(withOffset(instant, offsetMinutes))).toBe(instant);
      }),
    );
  });

  it('microsecondsOf is exact and parseInstant reads its instant back', () => {
    fc.assert(
      fc.property(microseconds, (value) => {
        const instant = instantOfMicroseconds(value);
        expect(microsecondsOf(instant)).toBe(value);
        expect(parseInstant(instant)).toBe(instant);
        expect(parseInstant(toPostgresTimestamp(instant))).toBe(instant);
      }),
    );
  });

  it('instants sort as text as they do in time', () => {
    fc.assert(
      fc.property(microseconds, microseconds, (a, b) => {
        expect(instantOfMicroseconds(a) < instantOfMicroseconds(b)).toBe(a < b);
      }),
    );
  });

  it('instantOf keeps the milliseconds of a Date, before 1970 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_000_000_000_000, max: 200_000_000_000_000 }), (timeMs) => {
        expect(microsecondsOf(instantOf(new Date(timeMs)))).toBe(BigInt(timeMs) * 1000n);
      }),
    );
  });
});

describe('toPostgresTimestamp', () => {
  it('toPostgresTimestamp writes the offset +00 and neither T nor Z', () => {
    expect(toPostgresTimestamp(parseInstant('2026-11-22T13:57:00.25+02:00'))).toBe('2026-11-22 11:57:00.250000+00');
  });
});

function instantOfMicroseconds(value: bigint): Instant {
  const micro = ((value % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const wholeSecondsMs = Number((value - micro) / 1000n);
  return parseInstant(`${new Date(wholeSecondsMs).toISOString().slice(0, 19)}.${String(micro).padStart(6, '0')}Z`);
}

function withOffset(instant: Instant, offsetMinutes: number): string {
  const wall = new Date(Date.parse(`${instant.slice(0, 19)}Z`) + offsetMinutes * 60_000).toISOString().slice(0, 19);
  const [hours, minutes] = [Math.trunc(Math.abs(offsetMinutes) / 60), Math.abs(offsetMinutes) % 60].map((part) =>
    String(part).padStart(2, '0'),
  );
  return `${wall}${instant.slice(19, 26)}${offsetMinutes < 0 ? '-' : '+'}${hours}:${minutes}`;
}

describe('formatInstant', () => {
  it.each([
    ['2026-11-22T11:57:00Z', '2026-11-22 11:57:00 UTC'],
    ['2026-11-22T10:00:00Z', '2026-11-22 10:00:00 UTC'],
    ['2026-11-22T10:20:30Z', '2026-11-22 10:20:30 UTC'],
    ['2026-11-22T11:57:00.5Z', '2026-11-22 11:57:00.5 UTC'],
    ['2026-11-22T11:57:00.000001Z', '2026-11-22 11:57:00.000001 UTC'],
    ['2026-11-22T11:57:00.100200Z', '2026-11-22 11:57:00.1002 UTC'],
  ])('formatInstant writes %s without needless zeros', (text, written) => {
    expect(formatInstant(parseInstant(text))).toBe(written);
  });

  it('formatInstant writes what parseInstant reads, but for the name of the zone', () => {
    fc.assert(
      fc.property(microseconds, (value) => {
        const instant = instantOfMicroseconds(value);
        expect(parseInstant(formatInstant(instant).replace(' UTC', 'Z'))).toBe(instant);
      }),
    );
  });
});
