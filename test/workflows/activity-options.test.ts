import { expect, it } from 'vitest';
import { retryOf, type StepRetry } from '../../src/workflows/activity-options.ts';

/** How long a step waits between its attempts in all, in milliseconds. */
function waitsMs({ initialInterval, backoffCoefficient, maximumInterval, maximumAttempts }: StepRetry): number {
  const waits = Array.from({ length: maximumAttempts - 1 }, (_, count) =>
    Math.min(initialInterval * backoffCoefficient ** count, maximumInterval),
  );
  return waits.reduce((sum, wait) => sum + wait, 0);
}

it('leaves a store that does not answer about a minute before a restore is given up for its plan, and a question eight seconds', () => {
  expect(waitsMs(retryOf('planRestore'))).toBe(55_500);
  expect(waitsMs(retryOf('outlineRestore'))).toBe(7500);
});

it('goes on for most of an hour with a step that moves data', () => {
  expect(waitsMs(retryOf('fetchBaseBackup'))).toBeGreaterThan(45 * 60_000);
});
