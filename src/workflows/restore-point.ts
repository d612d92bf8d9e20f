/** Names a place in the WAL of a running cluster, to which it can be restored. */
import type { RestorePoint } from '../domain/restore-point.ts';
import { hostTaskQueue } from '../domain/task-queues.ts';
import { controlActivities, hostActivities } from './activity-options.ts';
import type { RestorePointRequest } from './contract.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { isCancellation } from '@temporalio/workflow';

/** Makes the restore point, waits until its WAL is archived, and remembers where it lies. */
export async function restorePoint({ cluster, name }: RestorePointRequest): Promise<RestorePoint> {
  return await failingAsApplicationFailure(async () => {
    const { value: place } = await controlActivities().locateCluster(`Find where ${cluster} lives`, { cluster });
    const host = hostActivities(hostTaskQueue(place.host));
    try {
      const input = { cluster, archiveUrl: place.archiveUrl, name };
      return (await host.createRestorePoint(`Make the restore point ${name} on ${cluster}`, input)).value;
    } catch (error) {
      throw isCancellation(error) ? error : walkbackErrorOf(error, place.host);
    }
  });
}
