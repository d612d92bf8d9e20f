/** What retention did, or would do; JSON-safe. */
import type { WalRange } from './recovery-plan.ts';
import type { RetentionRules } from './retention-policy.ts';

/** A base backup that goes. */
export interface PrunedBackup {
  readonly backup: string;
  readonly finishTime: string;
  readonly isDelta: boolean;
  readonly objects: number;
  readonly bytes: number;
}

/** Objects without a sentinel that go: left by an interrupted base backup, or an interrupted removal. */
export interface PrunedLeftover {
  readonly backup: string;
  readonly objects: number;
  readonly bytes: number;
}

export interface PruneReport {
  readonly cluster: string;
  readonly rules: RetentionRules;
  /** Was anything removed? A dry run only says what would be. */
  readonly confirmed: boolean;
  /** The instant from which days are counted. */
  readonly at: string;
  /** The newest first. */
  readonly keep: readonly { readonly backup: string; readonly reason: string }[];
  readonly remove: readonly PrunedBackup[];
  readonly leftovers: readonly PrunedLeftover[];
  /** Folders without a sentinel that stay, and why. */
  readonly leftoversKept: readonly { readonly backup: string; readonly reason: string }[];
  /** Files under the WAL's folder that go: segments, and what is named after them. */
  readonly wal: { readonly files: number; readonly bytes: number; readonly ranges: readonly WalRange[] };
  /** The first segment that stays on every timeline, without its timeline; null when no WAL goes. */
  readonly walFrom: string | null;
  /** Restores in flight, and the backup that each has claimed. */
  readonly claims: readonly { readonly restore: string; readonly backup: string }[];
  /** Backups whose documents cannot be read: they stay. */
  readonly damaged: readonly string[];
  /** All that goes. */
  readonly objects: number;
  readonly bytes: number;
  /** Entries of the lists that are in the stored report only. */
  readonly leftOut: number;
  /** Where in the archive the whole report is; null after a dry run. */
  readonly reportKey: string | null;
}

/** What an answer of Temporal holds (64 KiB, design.md section 2). */
const answeredEntriesMaximum = 25;

/** The report in the size of an answer. */
export function boundedPruneReport(report: PruneReport): PruneReport {
  const lists = [report.keep, report.remove, report.leftovers, report.leftoversKept, report.wal.ranges, report.claims, report.damaged];
  const first = <T>(list: readonly T[]): readonly T[] => list.slice(0, answeredEntriesMaximum);
  return {
    ...report,
    keep: first(report.keep),
    remove: first(report.remove),
    leftovers: first(report.leftovers),
    leftoversKept: first(report.leftoversKept),
    wal: { ...report.wal, ranges: first(report.wal.ranges) },
    claims: first(report.claims),
    damaged: first(report.damaged),
    leftOut: lists.reduce((total, list) => total + Math.max(0, list.length - answeredEntriesMaximum), 0),
  };
}
