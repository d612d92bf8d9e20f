/**
 * The library that other services import: start a restore, follow it, decide, read its report. It speaks to Temporal and to nothing else:
 * importing it loads no worker, no SDK for S3 and no database driver.
 */
export { createWalkbackClient, type StartRestoreOptions, type WalkbackClient, type WalkbackClientOptions } from './walkback-client.ts';
export type { BackupHandle, OperationHandle, PruneHandle, RestoreHandle, VerifyHandle } from './handles.ts';
export type { RestoreFollowUp } from './handles.ts';
export {
  createBackupSchedules,
  type BackupSchedule,
  type BackupSchedules,
  type BackupScheduleOptions,
  type ScheduledAction,
} from './schedules.ts';
export { type ErrorCode, WalkbackError } from '../domain/errors.ts';
export { parseInstant, type Instant } from '../domain/instant.ts';
export { parseRecoveryTarget, type RecoveryTarget, type TargetTimeline } from '../domain/recovery-target.ts';
export type { Finding, VerificationReport } from '../domain/archive-findings.ts';
export type { PlanReport } from '../domain/plan-report.ts';
export type { PlanCheck } from '../domain/plan-check.ts';
export type { PruneReport } from '../domain/prune-report.ts';
export type { ArchiveWindow } from '../domain/archive-window.ts';
export type { BaseBackup } from '../domain/base-backup.ts';
export type { LandingReport } from '../domain/landing-report.ts';
export { renderLandingReport, renderWholeLandingReport } from '../domain/render-landing-report.ts';
export type { FamilyMember, Fork, Lineage } from '../domain/lineage.ts';
export type { DataCheck, PasswordReference, RestoreRequest, RoleSwap } from '../domain/restore-request.ts';
export type { UndoReport, UndoRequest } from '../domain/undo-request.ts';
export type { RestorePoint } from '../domain/restore-point.ts';
export type {
  BackupProgress,
  BaseBackupReport,
  EnableArchivingReport,
  EnableProgress,
  PruneArchiveReport,
  PruneProgress,
  PruneRequest,
  RestoreProgress,
  UndoProgress,
  VerifyArchiveReport,
  VerifyArchiveRequest,
  VerifyProgress,
} from '../workflows/contract.ts';
