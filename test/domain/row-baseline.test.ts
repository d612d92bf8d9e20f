import { describe, expect, it } from 'vitest';
import { compareRows, type RowBaseline } from '../../src/domain/row-baseline.ts';

const baseline: RowBaseline = {
  takenAt: '2026-11-22T11:00:00.000000Z',
  database: 'shop',
  tables: [
    { table: 'public.customers', rows: 1000 },
    { table: 'public.orders', rows: 0 },
  ],
  leftOut: 0,
};

function compared(customers: number, orders: number | undefined, percent = 0) {
  const found = new Map([['public.customers', customers], ...(orders === undefined ? [] : [['public.orders', orders] as const])]);
  return compareRows(baseline, found, { percent });
}

describe('compareRows', () => {
  it('compareRows is content when every table has what it had, within the tolerance', () => {
    expect(compared(1000, 0)).toMatchObject({ ok: true, sql: 'row counts against the baseline' });
    expect(compared(1100, 0, 10).ok).toBe(true);
    expect(compared(900, 0, 10).ok).toBe(true);
  });

  it('compareRows names the tables that are off, the worst first, and those that are not there', () => {
    expect(compared(1101, 0, 10)).toMatchObject({ ok: false, actual: 'public.customers: 1101 instead of 1000' });
    expect(compared(999, undefined)).toMatchObject({
      ok: false,
      actual: 'public.orders: is not there instead of 0; public.customers: 999 instead of 1000',
    });
    // Any row in a table that was empty is more than every percentage.
    expect(compared(1000, 1, 50).ok).toBe(false);
  });
});
