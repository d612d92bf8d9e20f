import { describe, expect, it } from 'vitest';
import { inBothTimes } from '../../src/cli/commands/restore.ts';
import { parseInstant } from '../../src/domain/instant.ts';

describe('inBothTimes', () => {
  it('inBothTimes tells an instant in UTC and as the clock on the wall shows it', () => {
    const zone = process.env['TZ'];
    process.env['TZ'] = 'Asia/Kolkata';
    try {
      const text = inBothTimes({ kind: 'time', time: parseInstant('2026-11-22T11:57:00Z') });
      expect(text).toContain('2026-11-22 11:57:00');
      expect(text).toMatch(/\(here: .*(?:5:27:00 PM|17:27:00).*\)$/u);
    } finally {
      if (zone === undefined) delete process.env['TZ'];
      else process.env['TZ'] = zone;
    }
  });

  it('inBothTimes tells any other target as it is', () => {
    expect(inBothTimes({ kind: 'latest' })).toBe('the end of the archived WAL');
  });
});
