/** Activities that look after an archive: its proof, its window, retention, marks. */
import { verifyArchive } from '../archive/archive-verification.ts';
import { markBackup } from '../archive/backup-mark.ts';
import { pruneArchive } from '../archive/prune-archive.ts';
import { readArchiveWindow } from '../archive/read-window.ts';
import type { RestoreClaim } from '../archive/restore-claims.ts';
import { boundedReport } from '../domain/archive-findings.ts';
import { windowLimitsOfAnswer } from '../domain/archive-window.ts';
import { boundedPruneReport } from '../domain/prune-report.ts';
import { backupWorkflowId } from '../domain/workflow-ids.ts';
import { runActivity } from './activity.ts';
import { currentCall } from './activity-call.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import type { ControlActivities } from './types.ts';

/** A restore of another Temporal namespace cannot be asked about: its claim counts for so long. */
const foreignClaimHoldsMs = 30 * 24 * 60 * 60_000;

type ArchiveActivities = Pick<ControlActivities, 'verifyArchive' | 'readArchiveWindow' | 'pruneArchive' | 'markBackup'>;

/** Makes the part of the control activities that is about whole archives. */
export function createArchiveActivities(dependencies: ControlDependencies): ArchiveActivities {
  const open = (cluster: string) => {
    const store = dependencies.openStore(dependencies.locateCluster(cluster).archiveUrl);
    const openWal = (segmentBytes?: number) => walArchiveOf(store, { ...dependencies, segmentBytes });
    return { cluster, store, openWal, cipher: dependencies.cipher };
  };
  return {
    verifyArchive: ({ cluster, ...input }) =>
      runActivity(async (step) => {
        const options = { ...open(cluster), ...input, signal: step.signal };
        return boundedReport(await verifyArchive({ ...options, onProgress: (progress) => step.report(progress) }));
      }),
    readArchiveWindow: ({ cluster }) =>
      runActivity(({ signal }) => {
        const { store, ...archive } = open(cluster);
        return readArchiveWindow(store, { ...archive, limits: windowLimitsOfAnswer, signal });
      }),
    pruneArchive: ({ cluster, ...input }) =>
      runActivity(async (step) => {
        const report = await pruneArchive({
          ...open(cluster),
          ...input,
          isRestoreRunning: (claim) => isRestoreRunning(dependencies, claim),
          isBackupRunning: () => dependencies.isWorkflowRunning(backupWorkflowId(cluster)),
          signal: step.signal,
          onProgress: (progress) => step.report(progress),
        });
        return boundedPruneReport(report);
      }),
    markBackup: ({ cluster, backup, isPermanent }) =>
      runActivity(({ signal }) => {
        const { store, cipher } = open(cluster);
        return markBackup({ store, cipher, backup, isPermanent, signal });
      }),
  };
}

async function isRestoreRunning(dependencies: ControlDependencies, claim: RestoreClaim): Promise<boolean> {
  if (claim.namespace === currentCall().namespace) return await dependencies.isWorkflowRunning(claim.restoreId);
  return Date.now() - Date.parse(claim.claimedAt) < foreignClaimHoldsMs;
}
