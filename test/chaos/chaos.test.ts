/** Twenty seeds of `npm run chaos`, some at once; two hundred are for the night. */
import { afterAll, describe, expect, it } from 'vitest';
import { smallDisk } from '../harness/small-disk.ts';
import { ChaosLanes } from './chaos-lanes.ts';
import { chaosPlan, describePlan, storeFaults, type Trouble } from './chaos-plan.ts';

const seeds = Array.from({ length: 20 }, (_, index) => index + 1);
const seedsOfNight = Array.from({ length: 200 }, (_, index) => index + 1);
const laneCount = 4;
/** With the time that a run waits for a free lane. */
const runTimeoutMs = 12 * 60_000;
const disk = smallDisk('chaos');
const lanes = new ChaosLanes(laneCount, { smallDisk: disk.path });

afterAll(async () => lanes[Symbol.asyncDispose]());

describe('a restore while things die', () => {
  it.concurrent.each(seeds.map((seed) => ({ seed, plan: describePlan(chaosPlan(seed)) })))(
    'ends with the exact rows, or fails clearly and promotes nothing: seed $seed, $plan',
    async ({ seed }) => {
      const verdict = await lanes.run(chaosPlan(seed));
      expect(['landed', 'failed-clearly']).toContain(verdict.kind);
    },
    runTimeoutMs,
  );

  it('fills a disk that is really full, where a small one can be mounted', ({ skip }) => {
    skip(disk.path === undefined, disk.why);
    const troubles = seeds.flatMap((seed) => chaosPlan(seed).duringRestore.map(({ trouble }) => trouble.kind));
    expect(troubles).toContain('fill-disk');
  });
});

describe('chaosPlan', () => {
  it('is the same for the same seed, and another one for another', () => {
    const plans = [5, 5, 6].map((seed) => JSON.stringify({ ...chaosPlan(seed), seed: 0 }));
    expect(plans[0]).toBe(plans[1]);
    expect(plans[0]).not.toBe(plans[2]);
  });

  it('lets each kind of death come within the seeds of npm test', () => {
    const kinds = troublesOf(seeds).map(({ kind }) => kind);
    expect(new Set(kinds)).toEqual(new Set(['kill', 'stop', 'kill-postgres', 'store', 'clock', 'upgrade', 'fill-disk']));
  });

  it('lets the store stall within the seeds of npm test, and meet each of its faults within those of the night', () => {
    const faultsOf = (those: readonly number[]) =>
      troublesOf(those).flatMap((trouble) => (trouble.kind === 'store' ? [trouble.fault] : []));
    expect(faultsOf(seeds)).toContain('stall');
    expect(new Set(faultsOf(seedsOfNight))).toEqual(new Set(storeFaults));
  });
});

function troublesOf(those: readonly number[]): Trouble[] {
  const plans = those.map((seed) => chaosPlan(seed));
  return plans.flatMap(({ duringBackup, duringRestore }) => [...duringBackup, ...duringRestore].map(({ trouble }) => trouble));
}
