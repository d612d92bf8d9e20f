/** A few seeds of `npm run chaos`; two hundred are for the night. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chaosPlan, describePlan } from './chaos-plan.ts';
import { runPlan } from './chaos-run.ts';
import { ChaosSite } from './chaos-site.ts';

const seeds = [1, 4, 5];
const runTimeoutMs = 8 * 60_000;
let site: ChaosSite;

beforeAll(async () => {
  site = await ChaosSite.open();
});
afterAll(async () => site[Symbol.asyncDispose]());

describe('a restore while things die', () => {
  it.each(seeds.map((seed) => ({ seed, plan: describePlan(chaosPlan(seed, { withSmallDisk: false })) })))(
    'ends with the exact rows, or fails clearly and promotes nothing: seed $seed, $plan',
    async ({ seed }) => {
      const verdict = await runPlan(site, chaosPlan(seed, { withSmallDisk: false }));
      expect(['landed', 'failed-clearly']).toContain(verdict.kind);
    },
    runTimeoutMs,
  );
});

describe('chaosPlan', () => {
  it('is the same for the same seed, and another one for another', () => {
    const plans = [5, 5, 6].map((seed) => JSON.stringify({ ...chaosPlan(seed, { withSmallDisk: true }), seed: 0 }));
    expect(plans[0]).toBe(plans[1]);
    expect(plans[0]).not.toBe(plans[2]);
  });
});
