/** What is measured: names, targets, and who takes part. */
import type { Measurement } from '../measure/measure.ts';
import type { Peer, PeerName } from '../peers/peer.ts';
import type { LocalFiles } from '../peers/local-files.ts';
import type { BenchSite } from '../site/bench-site.ts';
import type { BenchWal } from '../site/source.ts';

export type FigureName =
  | 'base-backup-push'
  | 'base-backup-fetch'
  | 'wal-push'
  | 'wal-replay'
  | 'restore-call-hit'
  | 'restore-call-absent'
  | 'restore-total'
  | 'orchestration';

/** What the figures work with. */
export interface Stage {
  readonly site: BenchSite;
  readonly peers: readonly Peer[];
  /** Its base backup stands in where it does not matter who brought the files. */
  readonly local: LocalFiles;
}

/** A stage on which the WAL is written and archived by everybody. */
export interface StageWithWal extends Stage {
  readonly wal: BenchWal;
}

/** What has to be reached. */
export interface Target {
  /** Theirs divided by ours is at least so much. */
  readonly ratios: Readonly<Partial<Record<PeerName, number>>>;
  /** Ours takes at most so long. */
  readonly oursMaximumSeconds?: number;
}

/** One row of the table. */
export interface Figure {
  readonly name: FigureName;
  readonly title: string;
  readonly unit: 's' | 'ms';
  readonly target: Target;
}

/** A figure that is measured before the WAL is written, or after. */
export type MeasuredFigure = Figure &
  (
    | { readonly when: 'before-wal'; readonly measure: (stage: Stage, peer: Peer) => Promise<Measurement> }
    | { readonly when: 'after-wal'; readonly measure: (stage: StageWithWal, peer: Peer) => Promise<Measurement> }
  );
