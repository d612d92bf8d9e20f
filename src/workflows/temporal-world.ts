/** The world of a restore that Temporal runs. */
import { CancellationScope, executeChild, isCancellation, patched, sleep, workflowInfo } from '@temporalio/workflow';
import { hostTaskQueue } from '../domain/task-queues.ts';
import { backupWorkflowId } from '../domain/workflow-ids.ts';
import { controlActivities, hostActivities } from './activity-options.ts';
import type { baseBackup } from './base-backup.ts';
import { workflowTypes } from './contract.ts';
import type { RestoreWorld } from './restore-world.ts';
import { temporalDisplay } from './step-recorder.ts';

/** Of this workflow run. */
export function temporalWorld(): RestoreWorld {
  const { workflowId, runId } = workflowInfo();
  return {
    restoreId: workflowId,
    runId,
    control: controlActivities(),
    host: (host, options) => hostActivities(hostTaskQueue(host), options),
    knows: (step) => patched(step),
    isCancellation,
    uncancelled: (work) => CancellationScope.nonCancellable(work),
    sleep: (milliseconds, why) => sleep(milliseconds, { summary: why.slice(0, summaryMaximumLength) }),
    takeBackup: (request, staticSummary) =>
      executeChild<typeof baseBackup>(workflowTypes.baseBackup, {
        workflowId: backupWorkflowId(request.cluster),
        args: [request],
        parentClosePolicy: 'REQUEST_CANCEL',
        staticSummary,
      }),
    display: temporalDisplay,
  };
}

const summaryMaximumLength = 200;
