/** Counts the rows of a running cluster and remembers them in its archive, so that a restore can be compared with them. */
import { isCancellation } from '@temporalio/workflow';
import type { RecordedBaseline } from '../activities/examination-types.ts';
import { hostTaskQueue } from '../domain/task-queues.ts';
import { controlActivities, hostActivities } from './activity-options.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';

/** Takes a baseline of the cluster's configured database. */
export async function recordBaseline({ cluster }: { readonly cluster: string }): Promise<RecordedBaseline> {
  return await failingAsApplicationFailure(async () => {
    const { value: place } = await controlActivities().locateCluster(`Find where ${cluster} lives`, { cluster });
    try {
      const host = hostActivities(hostTaskQueue(place.host));
      return (await host.recordBaseline(`Count the rows of ${cluster}`, { cluster, archiveUrl: place.archiveUrl })).value;
    } catch (error) {
      throw isCancellation(error) ? error : walkbackErrorOf(error, place.host);
    }
  });
}
