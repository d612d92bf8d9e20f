/** The answer to "what would a restore do": decided by looking alone, with nothing done. JSON-safe, below 64 KiB. */
import type { ArchiveWindow, WindowHole } from './archive-window.ts';
import type { BackupKind } from './base-backup.ts';
import type { Instant } from './instant.ts';
import type { PlanCheck } from './plan-check.ts';
import type { WalRange } from './recovery-plan.ts';
import type { RecoveryTarget } from './recovery-target.ts';
import type { Rate } from './restore-rates.ts';
import type { CompleteRestoreRequest } from './restore-request.ts';

/** The base backup that a restore would begin with. */
export interface PlannedBackup {
  readonly name: string;
  readonly kind: BackupKind;
  /** By the source's clock. */
  readonly finishTime: string;
  /** server_version_num. */
  readonly pgVersion: number;
  /** What is fetched, the full backup first and the chosen one last. */
  readonly chain: readonly string[];
  /** Why this one. */
  readonly why: string;
  /** Of the whole chain, as it is stored. */
  readonly storedBytes: number;
  /** What its files take on the host, while they are put together. */
  readonly restoredBytes: number;
}

/** The WAL that a restore would see: all of it is in the archive, by listing. */
export interface PlannedWal {
  /** The way over the timelines, in the order of replay. */
  readonly ranges: readonly WalRange[];
  readonly segmentCount: number;
  /** Up to the target; null where only replay can tell. */
  readonly segmentsToTarget: number | null;
  readonly histories: readonly string[];
  /** When the source closed the last segment, by its own clock; null where nobody noted it. */
  readonly closedAt: Instant | null;
  /** As the segments up to the target are stored: estimated from a few of them. */
  readonly storedBytes: number;
}

/** How long it may take: an estimate, by what restores of the cluster took before, or by assumed rates. */
export interface RestoreEstimate {
  /** What travels: base backup and WAL as they are stored. */
  readonly fetchBytes: number;
  /** What PostgreSQL replays. */
  readonly replayBytes: number;
  readonly fetchMilliseconds: number;
  readonly replayMilliseconds: number;
  readonly otherMilliseconds: number;
  readonly totalMilliseconds: number;
  /** By which fetching and replaying were estimated. */
  readonly rates: { readonly fetch: Rate; readonly replay: Rate };
}

/** The restorable instants around a target that cannot be restored. */
export interface NearestInstants {
  /** The last one before it. */
  readonly before: Instant | null;
  /** The first restorable instant is just after this one. */
  readonly after: Instant | null;
}

/** What can be restored at all. */
export interface PlannedWindow extends Pick<ArchiveWindow, 'earliest' | 'latest' | 'lastCommit'> {
  /** The newest, with the instants around them: that before a hole is the latest that can be reached there. */
  readonly holes: readonly WindowHole[];
  /** Null when the target is a restorable instant, or no instant. */
  readonly nearest: NearestInstants | null;
}

/** What the archive alone tells. */
export interface RestoreOutline {
  /** Null when no base backup fits. */
  readonly backup: PlannedBackup | null;
  readonly wal: PlannedWal | null;
  readonly estimate: RestoreEstimate | null;
  readonly window: PlannedWindow;
  readonly checks: readonly PlanCheck[];
}

/** The whole answer. */
export interface PlanReport extends RestoreOutline {
  readonly cluster: string;
  readonly name: string;
  readonly host: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly target: RecoveryTarget;
  /** No check refuses. */
  readonly isPossible: boolean;
}

/** Puts the answer together from what the archive and the host say. */
export function planReport(request: CompleteRestoreRequest, outline: RestoreOutline, hostChecks: readonly PlanCheck[]): PlanReport {
  const { cluster, name, host, dataDirectory, port, target } = request;
  const { backup, wal, estimate, window } = outline;
  const checks = [...outline.checks, ...hostChecks];
  const isPossible = checks.every(({ verdict }) => verdict !== 'refusal');
  return { cluster, name, host, dataDirectory, port, target, isPossible, backup, wal, estimate, window, checks };
}
