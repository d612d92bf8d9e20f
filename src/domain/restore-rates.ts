/** How fast restores of a cluster were, by their landing reports: what an estimate of the next one begins from. */
import type { LandingReport, StepReport } from './landing-report.ts';

/** A rate, and where it comes from. */
export interface Rate {
  readonly bytesPerSecond: number;
  /** Of how many restores it is the median; 0: it is assumed. */
  readonly restores: number;
}

/** What the reports tell; undefined where none tells enough. */
export interface MeasuredRates {
  /** Of stored bytes of base backups, to files that are synced. */
  readonly fetch: Rate | undefined;
  /** Of whole WAL segments, PostgreSQL's start included. */
  readonly replay: Rate | undefined;
}

/** The newest restores that count: a machine and its network change. */
export const measuredRestoresMaximum = 5;
/** Less than that tells of the fixed part of a step and nothing of its rate. */
const fetchedMinimumBytes = 4 * 1024 * 1024;
const segmentsMinimum = 4;

/** Medians of the newest reports that tell a rate. @param reports the newest first */
export function measuredRates(reports: readonly LandingReport[], segmentBytes: number): MeasuredRates {
  return {
    fetch: medianOf(reports.map(fetchRate)),
    replay: medianOf(reports.map((report) => replayRate(report, segmentBytes))),
  };
}

/** One that was interrupted says how long its last part took, not the whole. */
function fetchRate({ steps, fetchedBytes, partsAlreadyFetched }: LandingReport): number | undefined {
  if (fetchedBytes < fetchedMinimumBytes || partsAlreadyFetched > 0) return undefined;
  return rateOf(fetchedBytes, stepsNamed(steps, ['fetch-base-backup']), 1);
}

/** Of one start of PostgreSQL only: another one begins again where a restartpoint was. Replay goes on while the start is waited for. */
function replayRate({ steps, segmentsReplayed, recoveryStarts }: LandingReport, segmentBytes: number): number | undefined {
  if (segmentsReplayed < segmentsMinimum || recoveryStarts !== 1) return undefined;
  return rateOf(segmentsReplayed * segmentBytes, stepsNamed(steps, ['start-postgres', 'await-recovery']), 2);
}

function stepsNamed(steps: readonly StepReport[], names: readonly string[]): readonly StepReport[] {
  return steps.filter(({ name }) => names.includes(name));
}

/** @param count how many steps there are when nothing was done twice */
function rateOf(bytes: number, steps: readonly StepReport[], count: number): number | undefined {
  const milliseconds = steps.reduce((total, step) => total + step.milliseconds, 0);
  if (steps.length !== count || steps.some(({ attempts }) => attempts > 1) || milliseconds <= 0) return undefined;
  return (bytes / milliseconds) * 1000;
}

function medianOf(rates: readonly (number | undefined)[]): Rate | undefined {
  const sorted = rates
    .filter((rate) => rate !== undefined)
    .slice(0, measuredRestoresMaximum)
    .toSorted((one, other) => one - other);
  // Of an even number the lower one: an estimate had better be too long.
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  return middle === undefined ? undefined : { bytesPerSecond: Math.round(middle), restores: sorted.length };
}
