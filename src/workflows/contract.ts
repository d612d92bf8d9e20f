/** What the world outside may say to our workflows: names, inputs, results. Types and names only, so that a client stays light. */
import type { ClusterPlace } from '../activities/types.ts';
import type { VerificationReport } from '../domain/archive-findings.ts';
import type { BackupKind, BaseBackup, PageDamage } from '../domain/base-backup.ts';
import type { PruneReport } from '../domain/prune-report.ts';
import type { RetentionRules } from '../domain/retention-policy.ts';
import type { LandingReport, StepReport } from '../domain/landing-report.ts';
import type { RecoveryTarget } from '../domain/recovery-target.ts';
import type { RestoreRequest } from '../domain/restore-request.ts';
import type { StoreCapabilities } from '../domain/store-capabilities.ts';

/** Temporal's workflow types are the names of the exported functions. */
export const workflowTypes = {
  pointInTimeRestore: 'pointInTimeRestore',
  planRestore: 'planRestore',
  baseBackup: 'baseBackup',
  scheduledBaseBackup: 'scheduledBaseBackup',
  listBaseBackups: 'listBaseBackups',
  enableArchiving: 'enableArchiving',
  restorePoint: 'restorePoint',
  verifyArchive: 'verifyArchive',
  scheduledVerification: 'scheduledVerification',
  readArchiveWindow: 'readArchiveWindow',
  readLandingReport: 'readLandingReport',
  readLineage: 'readLineage',
  prune: 'prune',
  scheduledPrune: 'scheduledPrune',
  markBackup: 'markBackup',
  undoRestore: 'undoRestore',
  recordBaseline: 'recordBaseline',
} as const;

/** Query of a restore and of a base backup: how far it is. */
export const progressQuery = 'progress';

/**
 * Updates of a restore that waits for a decision, each refused while it does not wait for it. `promote`: let it become a cluster of its
 * own. `advance`: go on to a later target on the same directory. `retry`: look for new WAL and try the same target again. `abort`: stop and
 * keep the directory.
 */
export const decisionUpdates = { promote: 'promote', advance: 'advance', retry: 'retry', abort: 'abort' } as const;
/** The name of such an update. */
export type DecisionKind = keyof typeof decisionUpdates;

/** Input of `promote`, `retry` and `abort`; `abort` needs the reason. */
export interface DecisionInput {
  /** Kept in the landing report or in the error. */
  readonly reason?: string;
}

/** Input of `advance`. */
export interface AdvanceInput extends DecisionInput {
  readonly target: RecoveryTarget;
}

/** Where a restore stands, in the order of its life. */
export type RestorePhase =
  | 'plan'
  | 'check-host'
  | 'flush-source'
  | 'stop-source'
  | 'salvage-source'
  | 'prove-wal'
  | 'retire-source'
  | 'create-data-directory'
  | 'fetch-base-backup'
  | 'older-backup'
  | 'configure-recovery'
  | 'start-postgres'
  | 'await-recovery'
  | 'paused-at-target'
  | 'awaiting-decision'
  | 'advance'
  | 'host-gone'
  | 'raise-setting'
  | 'drop-target'
  | 'promote'
  | 'swap-roles'
  | 'take-inventory'
  | 'run-checks'
  | 'open-to-clients'
  | 'report'
  | 'protect'
  | 'done'
  | 'abandon'
  | 'failed';

/** Answer to the query `progress` of a restore. */
export interface RestoreProgress {
  readonly phase: RestorePhase;
  /** One sentence for people. */
  readonly summary: string;
  /** Who has to decide what, while the restore waits for a person. */
  readonly waitingFor: string | null;
  readonly steps: readonly StepReport[];
}

/** Where a base backup stands. */
export type BackupPhase = 'check-source' | 'copy-files' | 'await-wal' | 'complete' | 'done' | 'failed';

/** Answer to the query `progress` of a base backup. */
export interface BackupProgress {
  readonly phase: BackupPhase;
  readonly summary: string;
  readonly steps: readonly StepReport[];
}

/** Where the enabling of archiving stands. */
export type EnablePhase = 'configure' | 'restart' | 'prove' | 'done' | 'failed';

/** Answer to the query `progress` of an enabling. */
export interface EnableProgress {
  readonly phase: EnablePhase;
  readonly summary: string;
  readonly steps: readonly StepReport[];
}

/** Input of `baseBackup`. */
export interface BaseBackupRequest {
  readonly cluster: string;
  /** An incremental backup is a full one when there is doubt about what it could build on; the report says why. Default full. */
  readonly kind?: BackupKind;
  /** Where the cluster is, of one that the configuration does not know: a restored one. Default: as configured. */
  readonly place?: ClusterPlace;
}

/** Result of `baseBackup`. */
export interface BaseBackupReport {
  readonly backup: BaseBackup;
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
  /** Pages whose checksum was wrong: the backup holds them as they are. Absent or null: none was found. */
  readonly damage?: PageDamage | null;
  /** Why the backup is a full one although an incremental one was asked for. */
  readonly fullBecause?: string | null;
}

/** Result of a scheduled run: it starts the backup under its fixed id, or skips when one is running. */
export type ScheduledBackupReport =
  | { readonly outcome: 'taken'; readonly backup: string }
  | { readonly outcome: 'skipped'; readonly reason: string };

/** Input of `restorePoint`. */
export interface RestorePointRequest {
  readonly cluster: string;
  /** 1 to 63 bytes. */
  readonly name: string;
}

/** Input of `enableArchiving`. */
export interface EnableArchivingRequest {
  readonly cluster: string;
  /** May PostgreSQL be restarted? archive_mode and wal_level need it when they change. Default false. */
  readonly allowRestart?: boolean;
}

/** Result of `enableArchiving`. */
export interface EnableArchivingReport {
  readonly changed: readonly string[];
  readonly restarted: boolean;
  /** A segment that arrived in the archive afterwards. */
  readonly provenBySegment: string;
  /** What the archive's store enforces; null when an older agent did not say. */
  readonly store: StoreCapabilities | null;
  readonly steps: readonly StepReport[];
}

/** Where an undo stands. */
export type UndoPhase = 'plan' | 'check-source' | 'stop-child' | 'bring-back' | 'done' | 'failed';

/** Answer to the query `progress` of an undo. */
export interface UndoProgress {
  readonly phase: UndoPhase;
  readonly summary: string;
  readonly steps: readonly StepReport[];
}

/** Where a verification stands. */
export type VerifyPhase = 'verify' | 'done' | 'failed';

/** Answer to the query `progress` of a verification. */
export interface VerifyProgress {
  readonly phase: VerifyPhase;
  readonly summary: string;
  readonly steps: readonly StepReport[];
}

/** Input of `verifyArchive`. */
export interface VerifyArchiveRequest {
  readonly cluster: string;
  /** Read and hash every object that a restore may need. Default false: listings, sizes and small documents only. */
  readonly deep?: boolean;
}

/** Result of `verifyArchive`. */
export interface VerifyArchiveReport {
  readonly report: VerificationReport;
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
}

/** Where a retention run stands. */
export type PrunePhase = 'plan' | 'remove' | 'done' | 'failed';

/** Answer to the query `progress` of a retention run. */
export interface PruneProgress {
  readonly phase: PrunePhase;
  readonly summary: string;
  readonly steps: readonly StepReport[];
}

/** Input of `prune`: one of the two rules, or both. */
export interface PruneRequest extends RetentionRules {
  readonly cluster: string;
  /** Remove it. Default false: a dry run. */
  readonly confirm?: boolean;
  /** Let no base backup remain. Default false. */
  readonly allowEmpty?: boolean;
  /** Go on although documents of some backups cannot be read; those stay. Default false. */
  readonly ignoreDamaged?: boolean;
}

/** Result of `prune`. */
export interface PruneArchiveReport {
  readonly plan: PruneReport;
  /** What the last attempt removed; null after a dry run. */
  readonly removed: PruneReport | null;
  readonly steps: readonly StepReport[];
  readonly totalMilliseconds: number;
}

/** Result of a scheduled retention run. */
export type ScheduledPruneReport =
  | { readonly outcome: 'pruned'; readonly objects: number; readonly bytes: number }
  | { readonly outcome: 'skipped'; readonly reason: string };

/** Input of `markBackup`. */
export interface MarkBackupRequest {
  readonly cluster: string;
  readonly backup: string;
  readonly isPermanent: boolean;
}

/** Result of a scheduled verification that found no error; it fails with ARCHIVE_DAMAGED when there is one. */
export type ScheduledVerificationReport =
  | { readonly outcome: 'sound'; readonly reportKey: string }
  | { readonly outcome: 'skipped'; readonly reason: string };

/** Answer to the update of a decision. */
export interface DecisionAccepted {
  readonly accepted: true;
}

export type { BaseBackup, LandingReport, RestoreRequest, StepReport };
