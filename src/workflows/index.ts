/** Every workflow; an exported function's name is its type. */
export { baseBackup, scheduledBaseBackup } from './base-backup.ts';
export { enableArchiving } from './enable-archiving.ts';
export { listBaseBackups } from './list-base-backups.ts';
export { restorePoint } from './restore-point.ts';
export { markBackup } from './mark-backup.ts';
export { pointInTimeRestore } from './point-in-time-restore.ts';
export { readLandingReport, readLineage } from './read-family.ts';
export { planRestore } from './plan-restore.ts';
export { prune, scheduledPrune } from './prune.ts';
export { readArchiveWindow } from './read-archive-window.ts';
export { recordBaseline } from './record-baseline.ts';
export { undoRestore } from './undo-restore.ts';
export { scheduledVerification, verifyArchive } from './verify-archive.ts';
