/** Makes a cluster archive its WAL continuously, and proves that it does. */
import { WalkbackError } from '../domain/errors.ts';
import { hostTaskQueue } from '../domain/task-queues.ts';
import { controlActivities, hostActivities } from './activity-options.ts';
import type { EnableArchivingReport, EnableArchivingRequest, EnablePhase, EnableProgress } from './contract.ts';
import { progressQuery } from './contract.ts';
import { cancellationOf, failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { renderClusterDetails } from './render-details.ts';
import { StepRecorder } from './step-recorder.ts';
import { defineQuery, setHandler } from '@temporalio/workflow';

const enableProgress = defineQuery<EnableProgress>(progressQuery);

/** Sets the archiving settings, restarts PostgreSQL only when allowed and needed, and waits for one segment in the archive. */
export async function enableArchiving(request: EnableArchivingRequest): Promise<EnableArchivingReport> {
  const steps = new StepRecorder<EnablePhase>('configure', (state) => renderClusterDetails(request.cluster, state));
  setHandler(enableProgress, () => steps.state, { description: 'Where the enabling of archiving stands, and the steps done' });
  return await failingAsApplicationFailure(async () => {
    const { cluster } = request;
    const { value: place } = await controlActivities().locateCluster(`Find where ${cluster} lives`, { cluster });
    const host = hostActivities(hostTaskQueue(place.host));
    const input = { cluster, archiveUrl: place.archiveUrl };
    try {
      const state = await steps.run('configure', `Set the archiving settings of ${cluster}`, (summary) =>
        host.configureArchiving(summary, input),
      );
      if (state.restartNeeded) await restart(request, steps, host);
      const { segment } = await steps.run('prove', 'Close a WAL segment and wait for it in the archive', (summary) =>
        host.proveArchiving(summary, input),
      );
      steps.enter('done', `${cluster} archives its WAL`);
      return {
        changed: state.changed,
        restarted: state.restartNeeded,
        provenBySegment: segment,
        store: state.store ?? null,
        steps: steps.state.steps,
      };
    } catch (error) {
      const cancellation = cancellationOf(error);
      steps.enter('failed', cancellation === undefined ? walkbackErrorOf(error, place.host).message : 'cancelled');
      throw cancellation ?? walkbackErrorOf(error, place.host);
    }
  });
}

async function restart(
  request: EnableArchivingRequest,
  steps: StepRecorder<EnablePhase>,
  host: ReturnType<typeof hostActivities>,
): Promise<void> {
  if (request.allowRestart !== true) {
    throw new WalkbackError(
      'RESTART_NEEDED',
      `The settings of ${request.cluster} are written, but archive_mode or wal_level take effect only after a restart, which was not allowed.`,
    );
  }
  await steps.run('restart', `Restart ${request.cluster}`, (summary) => host.restartSource(summary, { cluster: request.cluster }));
}
