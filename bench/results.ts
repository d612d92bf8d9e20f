/** What was measured, and the ratios that count. */
import type { Figure, FigureName } from './figures/figure.ts';
import type { Measurement } from './measure/measure.ts';
import { labelOf, type Peer, type PeerName } from './peers/peer.ts';
import { median } from './report/median.ts';

/** Medians of a contestant's runs. */
export interface Result {
  readonly name: PeerName;
  readonly label: string;
  readonly runs: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakBytes: number;
}

/** One figure with what everybody reached. */
export interface FigureResult {
  readonly figure: Figure;
  readonly results: readonly Result[];
}

/** Theirs divided by ours: over 1 we are faster. */
export interface Ratio {
  readonly figure: FigureName;
  readonly against: Exclude<PeerName, 'walkback'>;
  readonly ratio: number;
  /** Seconds. */
  readonly ours: number;
  /** Seconds, at the peer's best setting. */
  readonly theirs: number;
  readonly runs: number;
}

const peerNames = ['wal-g', 'pgbackrest', 'local-files'] as const;

/** The medians of one contestant's runs. */
export function resultOf(peer: Peer, measurements: readonly Measurement[]): Result {
  return {
    name: peer.name,
    label: labelOf(peer),
    runs: measurements.length,
    seconds: median(measurements.map(({ seconds }) => seconds)),
    cpuSeconds: median(measurements.map(({ cpuSeconds }) => cpuSeconds)),
    peakBytes: median(measurements.map(({ peakBytes }) => peakBytes)),
  };
}

/** Our ratio to each peer that took part. */
export function ratiosOf({ figure, results }: FigureResult): readonly Ratio[] {
  const ours = bestOf(results, 'walkback');
  return peerNames.flatMap((against) => {
    const theirs = bestOf(results, against);
    if (ours === undefined || theirs === undefined) return [];
    const ratio = rounded(theirs.seconds / ours.seconds);
    return [{ figure: figure.name, against, ratio, ours: rounded(ours.seconds), theirs: rounded(theirs.seconds), runs: ours.runs }];
  });
}

/** Is the target reached? Undefined when there is none for the peer. */
export function isReached({ target }: Figure, ratio: Pick<Ratio, 'against' | 'ratio'>): boolean | undefined {
  const wanted = target.ratios[ratio.against];
  return wanted === undefined ? undefined : ratio.ratio >= wanted;
}

function bestOf(results: readonly Result[], name: PeerName): Result | undefined {
  return results.filter((result) => result.name === name).toSorted((one, other) => one.seconds - other.seconds)[0];
}

/** Tenths of a millisecond: more digits would be noise. */
function rounded(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
