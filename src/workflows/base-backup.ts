/** A base backup, step by step; and the run that a schedule starts, which takes it under the cluster's fixed id. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { defineQuery, executeChild, setHandler } from '@temporalio/workflow';
import { backupWorkflowId } from '../domain/workflow-ids.ts';
import type { BackupJob } from '../activities/types.ts';
import type { BackupPhase, BackupProgress, BaseBackupReport, BaseBackupRequest, ScheduledBackupReport } from './contract.ts';
import { progressQuery } from './contract.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { renderClusterDetails } from './render-details.ts';
import type { RestoreWorld } from './restore-world.ts';
import { StepRecorder } from './step-recorder.ts';
import { temporalWorld } from './temporal-world.ts';

const backupProgress = defineQuery<BackupProgress>(progressQuery);

/** Takes a base backup of a cluster; it counts once WAL through its end is archived and its sentinel is written. */
export async function baseBackup(request: BaseBackupRequest): Promise<BaseBackupReport> {
  const steps = new StepRecorder<BackupPhase>('check-source', (state) => renderClusterDetails(request.cluster, state));
  setHandler(backupProgress, () => steps.state, { description: 'Where the base backup stands, and the steps done' });
  return await failingAsApplicationFailure(() => takeBaseBackup(request, steps, temporalWorld()));
}

type BackupWorld = Pick<RestoreWorld, 'control' | 'host' | 'isCancellation' | 'knows' | 'uncancelled'>;

/** The story of a base backup, whoever runs it. */
export async function takeBaseBackup(
  request: BaseBackupRequest,
  steps: StepRecorder<BackupPhase>,
  world: BackupWorld,
): Promise<BaseBackupReport> {
  const startedMs = Date.now();
  const { cluster } = request;
  const place = request.place ?? (await world.control.locateCluster(`Find where ${cluster} lives`, { cluster })).value;
  const host = world.host(place.host);
  const job = { cluster, archiveUrl: place.archiveUrl, ...(request.kind === undefined ? {} : { kind: request.kind }) };
  try {
    await steps.run('check-source', `Check that ${cluster} archives its WAL`, (summary) => host.checkBackupSource(summary, job));
    const copied = await steps
      .run('copy-files', `Copy the files of ${cluster} into the archive`, (summary) => host.copyBaseBackup(summary, job))
      .catch(async (error: unknown) => {
        await releaseSession(world, host, job);
        throw error;
      });
    await steps.run('await-wal', `Wait until ${copied.finishSegment} is archived`, (summary) =>
      host.awaitWalArchived(summary, { job, copied }),
    );
    const backup = await steps.run('complete', `Write the sentinel of ${copied.uploaded.backup.name}`, (summary) =>
      host.completeBaseBackup(summary, { job, copied }),
    );
    steps.enter('done', `${backup.name} is in the archive`);
    const { uploaded, fullBecause } = copied;
    return { backup, steps: steps.state.steps, totalMilliseconds: Date.now() - startedMs, damage: uploaded.damage, fullBecause };
  } catch (error) {
    steps.enter('failed', world.isCancellation(error) ? 'cancelled' : walkbackErrorOf(error, place.host).message);
    throw world.isCancellation(error) ? error : walkbackErrorOf(error, place.host);
  }
}

/**
 * A session that a lost attempt has left waits for the next one, and none comes any more. Nor does the workflow wait for an attempt to hear that
 * it is cancelled: once it has ended, the attempt could not tell that from being lost.
 */
async function releaseSession(world: BackupWorld, host: ReturnType<RestoreWorld['host']>, job: BackupJob): Promise<void> {
  if (!world.knows('release-backup-session')) return;
  try {
    await world.uncancelled(() => host.releaseBackupSession(`End the backup on the server of ${job.cluster}`, job));
  } catch {
    // The agent does not answer. The session ends with it, or a quarter of an hour after the attempt; why the backup ends is told instead.
  }
}

/** What a schedule starts: a backup that runs already is no failure, but a run to skip. */
export async function scheduledBaseBackup(request: BaseBackupRequest): Promise<ScheduledBackupReport> {
  try {
    const report = await executeChild(baseBackup, {
      workflowId: backupWorkflowId(request.cluster),
      args: [request],
      parentClosePolicy: 'REQUEST_CANCEL',
      staticSummary: `Scheduled base backup of ${request.cluster}`,
    });
    return { outcome: 'taken', backup: report.backup.name };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return { outcome: 'skipped', reason: `a base backup of ${request.cluster} is running already` };
  }
}
