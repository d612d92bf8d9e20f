/**
 * One step of a restore at a time works on its source. A cancelled one may still be under way in the agent, or begin late: what tidies up after it
 * stops it, waits for its end, and refuses one that comes afterwards. A source on another host than the restore's is out of its reach.
 */
import { WalkbackError } from '../domain/errors.ts';
import { currentCall } from './activity-call.ts';
import type { ActivityStep } from './activity.ts';
import type { DirectoryLeases } from './directory-leases.ts';

/** Runs a step on the source of the restore that asks for it. @throws WalkbackError DATA_DIRECTORY_IN_USE when it comes late */
export async function onSource<T>(leases: DirectoryLeases, step: ActivityStep, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return await leases.run(`the source of ${currentCall().restoreId}`, step, body);
}

/** No step of the restore works on the source any more, or will; one that cannot be stopped is left to come to its end. */
export async function endSourceWork(leases: DirectoryLeases, step: ActivityStep): Promise<void> {
  try {
    await onSource(leases, step, () => Promise.resolve());
  } catch (error) {
    // A server takes its time to shut down: it is told to already.
    if (!(error instanceof WalkbackError) || error.code !== 'DATA_DIRECTORY_IN_USE') throw error;
  }
}
