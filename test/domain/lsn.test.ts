import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn, lsn, parseLsn } from '../../src/domain/lsn.ts';
import { thrownBy } from './support/thrown.ts';

const positions = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('parseLsn', () => {
  it.each([
    ['0/0', 0n],
    ['0/3000028', 0x3000028n],
    ['1/0', 1n << 32n],
    ['16/b374d848', (0x16n << 32n) | 0xb374d848n],
    ['FFFFFFFF/FFFFFFFF', 2n ** 64n - 1n],
    ['00000001/00000002', (1n << 32n) | 2n],
  ])('parseLsn reads %s', (text, value) => {
    expect(parseLsn(text)).toBe(value);
  });

  it.each(['', '/', '0/', '/0', '0', '0/0/0', '0x1/0', '100000000/0', '0/100000000', ' 0/0', '0/0 ', '-1/0', 'g/0', '0\\0', '0/0\n'])(
    'parseLsn refuses %j with an example of the right form',
    async (text) => {
      const error = await thrownBy(() => parseLsn(text));
      expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
      expect(error.message).toContain(text);
      expect(error.hint).toContain('0/3000028');
    },
  );

  it('parseLsn reads back what formatLsn writes', () => {
    fc.assert(
      fc.property(positions, (value) => {
        expect(parseLsn(formatLsn(lsn(value)))).toBe(value);
      }),
    );
  });
});

describe('formatLsn', () => {
  it('formatLsn writes two upper-case halves without leading zeros', () => {
    expect(formatLsn(lsn(0n))).toBe('0/0');
    expect(formatLsn(lsn((0xan << 32n) | 0xbcn))).toBe('A/BC');
    fc.assert(
      fc.property(positions, (value) => {
        expect(formatLsn(lsn(value))).toMatch(/^(0|[1-9A-F][0-9A-F]{0,7})\/(0|[1-9A-F][0-9A-F]{0,7})$/);
      }),
    );
  });
});

describe('lsn', () => {
  it('lsn refuses numbers outside 64 bits', () => {
    expect(() => lsn(-1n)).toThrow(RangeError);
    expect(() => lsn(2n ** 64n)).toThrow(RangeError);
    expect(lsn(2n ** 64n - 1n)).toBe(2n ** 64n - 1n);
  });
});
