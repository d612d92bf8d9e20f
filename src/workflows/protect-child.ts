/** The first base backup of a restored cluster: without one it cannot be restored itself. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { RestoreJob } from '../activities/types.ts';
import type { ProtectionReport } from '../domain/landing-report.ts';
import { walkbackErrorOf } from './failures.ts';
import type { RestoreSteps } from './restore-steps.ts';

/**
 * Takes it, under the fixed id of the cluster's base backups. Never fails: the cluster is open and stays open.
 * @param host where the restored cluster runs
 */
export async function protectChild(job: RestoreJob, host: string, steps: RestoreSteps): Promise<ProtectionReport> {
  const { name: cluster, childArchiveUrl: archiveUrl, adminRole, database } = job;
  try {
    const backup = await steps.run('protect', `Take the first base backup of ${cluster}`, async (summary) => {
      const place = { cluster, host, archiveUrl, adminRole, database };
      const report = await steps.world.takeBackup({ cluster, place }, summary);
      return { value: report.backup.name, attempts: 1 };
    });
    return { backup, failure: null };
  } catch (error) {
    return { backup: null, failure: steps.world.isCancellation(error) ? 'it was cancelled' : reasonOf(error, cluster) };
  }
}

function reasonOf(error: unknown, cluster: string): string {
  if (error instanceof WorkflowExecutionAlreadyStartedError) return `a base backup of ${cluster} is running already`;
  return walkbackErrorOf(error).message;
}
