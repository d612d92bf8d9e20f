/** Names of task queues. A host's queue is stable, since a data directory outlives every process (design.md, section 2). */

/** Workflows, and activities that need only the archive. */
export const controlTaskQueue = 'walkback';

/** Activities that touch a data directory run on its host and nowhere else. */
export function hostTaskQueue(hostId: string): string {
  return `walkback-host-${hostId}`;
}
