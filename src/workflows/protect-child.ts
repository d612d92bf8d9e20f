/** The first base backup of a restored cluster: without one it cannot be restored itself. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { executeChild, isCancellation } from '@temporalio/workflow';
import type { RestoreJob } from '../activities/types.ts';
import type { ProtectionReport } from '../domain/landing-report.ts';
import { backupWorkflowId } from '../domain/workflow-ids.ts';
import type { baseBackup } from './base-backup.ts';
import { workflowTypes } from './contract.ts';
import { walkbackErrorOf } from './failures.ts';
import type { RestoreSteps } from './restore-steps.ts';

/**
 * Takes it, under the fixed id of the cluster's base backups. Never fails: the cluster is open and stays open.
 * @param host where the restored cluster runs
 */
export async function protectChild(job: RestoreJob, host: string, steps: RestoreSteps): Promise<ProtectionReport> {
  const { name: cluster, childArchiveUrl: archiveUrl, adminRole, database } = job;
  try {
    const backup = await steps.run('protect', `Take the first base backup of ${cluster}`, async (staticSummary) => {
      const report = await executeChild<typeof baseBackup>(workflowTypes.baseBackup, {
        workflowId: backupWorkflowId(cluster),
        args: [{ cluster, place: { cluster, host, archiveUrl, adminRole, database } }],
        parentClosePolicy: 'REQUEST_CANCEL',
        staticSummary,
      });
      return { value: report.backup.name, attempts: 1 };
    });
    return { backup, failure: null };
  } catch (error) {
    return { backup: null, failure: reasonOf(error, cluster) };
  }
}

function reasonOf(error: unknown, cluster: string): string {
  if (isCancellation(error)) return 'it was cancelled';
  if (error instanceof WorkflowExecutionAlreadyStartedError) return `a base backup of ${cluster} is running already`;
  return walkbackErrorOf(error).message;
}
