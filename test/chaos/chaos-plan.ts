/** What happens in one run, decided by its seed alone: the same seed is the same plan. */

/** Who dies, or what goes wrong. */
export type Trouble =
  | { readonly kind: 'kill'; readonly who: 'worker' | 'agent' | 'temporal'; readonly awayMs: number }
  | { readonly kind: 'stop'; readonly who: 'worker' | 'agent'; readonly awayMs: number }
  | { readonly kind: 'kill-postgres' }
  /** `bodyShare`: how much of a body comes before the byte that is wrong, or that does not come. */
  | { readonly kind: 'store'; readonly fault: StoreFault; readonly requestCount: number; readonly bodyShare: number }
  /** The clock of the running process jumps so far, after a while as far to the other side, and back at the end; PostgreSQL, Temporal and the store keep theirs. */
  | { readonly kind: 'clock'; readonly who: 'worker' | 'agent'; readonly shiftMs: number; readonly forMs: number }
  /** The process is stopped, and a later version of walkback takes its place. */
  | { readonly kind: 'upgrade'; readonly who: 'worker' | 'agent'; readonly awayMs: number }
  /** Of the small disk that the restore goes to; passed over where there is none. */
  | { readonly kind: 'fill-disk'; readonly forMs: number };

export const storeFaults = [
  'slow-down',
  'internal-error',
  'reset',
  'lost-answer',
  'cut-body',
  'truncated-body',
  'corrupt-body',
  'slow',
  'stall',
] as const;
export type StoreFault = (typeof storeFaults)[number];

/** A trouble, and when: at a request that the store gets after the operation began, or so long after that. */
export interface PlannedTrouble {
  readonly trouble: Trouble;
  readonly at: { readonly request: number } | { readonly afterMs: number };
}

/** One run. */
export interface ChaosPlan {
  readonly seed: number;
  /** Segments that are written before the target. */
  readonly segments: number;
  /** Taken before the restore, under troubles too. */
  readonly backup: 'none' | 'full' | 'incremental';
  /** `between`: an instant between two commits; `idle`: one after the last commit. */
  readonly target: 'between' | 'idle' | 'latest';
  readonly duringBackup: readonly PlannedTrouble[];
  readonly duringRestore: readonly PlannedTrouble[];
}

const awayMaximumMs = 2500;
const requestsOfRestore = 45;
/** A body that stalls is given up after half a minute. */
const stalledRequestsMaximum = 2;
const restoreMaximumMs = 4000;
const clockShiftMaximumMs = 10 * 60_000;

/** What the seed says. */
export function chaosPlan(seed: number): ChaosPlan {
  const random = seededRandom(seed);
  // By itself: what else happens is what it was before there were places.
  const places = seededRandom(~seed);
  const backup = choose(random, ['none', 'none', 'full', 'incremental'] as const);
  return {
    seed,
    segments: between(random, 1, 5),
    backup,
    target: choose(random, ['between', 'between', 'idle', 'latest'] as const),
    duringBackup: backup === 'none' ? [] : troubles(random, { most: 2, onSmallDisk: false, places }),
    duringRestore: troubles(random, { most: 4, onSmallDisk: true, places }),
  };
}

/** A line for people. */
export function describePlan({ backup, target, duringBackup, duringRestore }: ChaosPlan): string {
  const during = (planned: readonly PlannedTrouble[]) => planned.map(describe).join(', ') || 'nothing';
  const before = backup === 'none' ? '' : `${backup} backup with ${during(duringBackup)}; `;
  return `${before}restore (${target}) with ${during(duringRestore)}`;
}

function describe({ trouble, at }: PlannedTrouble): string {
  const { kind, ...details } = trouble;
  const when = 'request' in at ? `at request ${at.request}` : `after ${at.afterMs} ms`;
  return [kind, ...Object.values(details), when].join(' ');
}

/** How many, and of which kinds. */
interface TroubleOptions {
  readonly most: number;
  readonly onSmallDisk: boolean;
  /** Places in bodies: numbers from 0 to below 1. */
  readonly places: () => number;
}

function troubles(random: () => number, options: TroubleOptions): readonly PlannedTrouble[] {
  return Array.from({ length: between(random, 1, options.most) }, () => ({
    trouble: oneTrouble(random, options),
    at: random() < 0.6 ? { request: between(random, 1, requestsOfRestore) } : { afterMs: between(random, 0, restoreMaximumMs) },
  }));
}

function oneTrouble(random: () => number, { onSmallDisk, places }: TroubleOptions): Trouble {
  const awayMs = between(random, 0, awayMaximumMs);
  const who = choose(random, ['worker', 'agent'] as const);
  const fillDisk = (): Trouble => ({ kind: 'fill-disk', forMs: awayMs });
  const kinds: readonly (() => Trouble)[] = [
    () => ({ kind: 'kill', who, awayMs }),
    () => ({ kind: 'kill', who: 'agent', awayMs }),
    () => ({ kind: 'kill', who: 'temporal', awayMs }),
    () => ({ kind: 'stop', who, awayMs }),
    () => ({ kind: 'kill-postgres' }),
    () => ({ kind: 'kill-postgres' }),
    () => storeTrouble(random, places),
    () => storeTrouble(random, places),
    () => ({ kind: 'clock', who, shiftMs: between(random, -clockShiftMaximumMs, clockShiftMaximumMs), forMs: awayMs }),
    () => ({ kind: 'upgrade', who: 'agent', awayMs }),
    () => ({ kind: 'upgrade', who, awayMs }),
    ...(onSmallDisk ? [fillDisk, fillDisk] : []),
  ];
  return choose(random, kinds)();
}

function storeTrouble(random: () => number, places: () => number): Trouble {
  const fault = choose(random, storeFaults);
  const requestCount = between(random, 1, fault === 'stall' ? stalledRequestsMaximum : 12);
  return { kind: 'store', fault, requestCount, bodyShare: between(places, 0, 999) / 1000 };
}

/** Both ends included. */
function between(random: () => number, least: number, most: number): number {
  return least + Math.floor(random() * (most - least + 1));
}

function choose<T>(random: () => number, from: readonly T[]): T {
  return from[between(random, 0, from.length - 1)]!;
}

/** mulberry32: small, and the same everywhere. @returns numbers from 0 to below 1 */
function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
