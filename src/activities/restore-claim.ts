/** A restore claims its base backup while it plans, so that retention leaves it and the WAL behind it alone (archive/restore-claims.ts). */
import { claimBackup, listRemovalMarks, releaseClaim } from '../archive/restore-claims.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { RecoveryPlan } from '../domain/recovery-plan.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { currentCall } from './activity-call.ts';

/** Each further plan does without a backup that retention was removing at that moment. */
const plansMaximum = 50;

/**
 * Plans until the backup that was chosen is claimed and not being removed.
 * @param plan told which backups do not count any more
 */
export async function claimedPlan(
  store: ObjectStore,
  plan: (removed: ReadonlySet<string>) => Promise<RecoveryPlan>,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  let removed = await listRemovalMarks(store, signal);
  for (let plans = 1; ; plans += 1) {
    const planned = await plan(removed);
    await claim(store, planned.backup.name, signal);
    removed = await listRemovalMarks(store, signal);
    if (!removed.has(planned.backup.name)) return planned;
    if (plans >= plansMaximum)
      throw new WalkbackError('STORAGE_UNREACHABLE', `Retention is removing base backups of ${store.url} faster than one can be chosen.`);
  }
}

/** At the end of a restore that has come to a good end. One that has not leaves its claim, which counts for nothing once its workflow has ended. */
export async function endClaim(openSource: () => ObjectStore, restoreId: string): Promise<void> {
  try {
    await releaseClaim(openSource(), restoreId);
  } catch {
    // The store does not answer, may only be read, or is not configured any more: the next retention run removes the claim of an ended restore.
  }
}

async function claim(store: ObjectStore, backup: string, signal: AbortSignal): Promise<void> {
  const { restoreId, namespace } = currentCall();
  try {
    await claimBackup(store, { restoreId, namespace, backup, claimedAt: new Date().toISOString() }, signal);
  } catch (error) {
    // Who may only read an archive may restore from it; its owner's retention does not see that.
    if (!(error instanceof WalkbackError) || error.code !== 'STORAGE_ACCESS_DENIED') throw error;
  }
}
