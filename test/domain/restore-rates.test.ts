import { describe, expect, it } from 'vitest';
import type { LandingReport, StepReport } from '../../src/domain/landing-report.ts';
import { measuredRates } from '../../src/domain/restore-rates.ts';

const mebibyte = 1024 * 1024;
const segmentBytes = 16 * mebibyte;
const step = (name: string, milliseconds: number, attempts = 1): StepReport => ({ name, milliseconds, attempts });

/** A restore that fetched 100 MiB and replayed ten segments. */
function report(fetchMs: number, replayMs: number, more: Partial<LandingReport> = {}): LandingReport {
  const steps = [step('fetch-base-backup', fetchMs), step('start-postgres', 500), step('await-recovery', replayMs - 500)];
  const said = { fetchedBytes: 100 * mebibyte, partsAlreadyFetched: 0, segmentsReplayed: 10, recoveryStarts: 1, steps, ...more };
  return said as LandingReport;
}

describe('measuredRates', () => {
  it('measuredRates are the medians of the newest five restores that tell a rate', () => {
    const times = [4000, 1000, 2000, 5000, 3000, 100, 100];
    expect(
      measuredRates(
        times.map((ms) => report(ms, 2 * ms)),
        segmentBytes,
      ),
    ).toEqual({
      fetch: { bytesPerSecond: Math.round((100 * mebibyte) / 3), restores: 5 },
      replay: { bytesPerSecond: Math.round((160 * mebibyte) / 6), restores: 5 },
    });
  });

  it('of two restores the slower one counts, since an estimate had better be too long', () => {
    expect(measuredRates([report(1000, 1000), report(2000, 4000)], segmentBytes)).toEqual({
      fetch: { bytesPerSecond: 50 * mebibyte, restores: 2 },
      replay: { bytesPerSecond: 40 * mebibyte, restores: 2 },
    });
  });

  it.each([
    ['was resumed', { partsAlreadyFetched: 1, recoveryStarts: 2 }],
    ['was too small', { fetchedBytes: mebibyte, segmentsReplayed: 3 }],
    ['took several attempts', { steps: [step('fetch-base-backup', 10, 2), step('start-postgres', 10), step('await-recovery', 10, 2)] }],
    [
      'fetched and awaited twice',
      { steps: ['fetch-base-backup', 'await-recovery'].flatMap((name) => [step(name, 10), step(name, 10), step(name, 10)]) },
    ],
    ['does not tell its steps', { steps: [] }],
  ])('a restore that %s tells no rate', (_, more) => {
    expect(measuredRates([report(1000, 1000, more)], segmentBytes)).toEqual({ fetch: undefined, replay: undefined });
  });
});
