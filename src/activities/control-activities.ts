/** Activities that need only the archive: they run on any worker. */
import { listBaseBackups } from '../archive/catalog.ts';
import { WalkbackError } from '../domain/errors.ts';
import { runActivity } from './activity.ts';
import { createArchiveActivities } from './archive-activities.ts';
import type { ControlDependencies } from './dependencies.ts';
import { createFamilyActivities } from './family-activities.ts';
import { assertArchiveUnused, lacksFlushed, settledPlan } from './plan-by-listing.ts';
import { claimedPlan } from './restore-claim.ts';
import { outlineRestore } from './restore-outline.ts';
import type { ControlActivities, PlanInput, PlannedRestore } from './types.ts';

/** Makes the activities of the task queue `walkback`. */
export function createControlActivities(dependencies: ControlDependencies): ControlActivities {
  return {
    ...createArchiveActivities(dependencies),
    ...createFamilyActivities(dependencies),
    planRestore: (input) => runActivity((step) => planRestore(dependencies, input, step.signal)),
    outlineRestore: ({ request }) => runActivity((step) => outlineRestore(dependencies, request, step.signal)),
    locateCluster: ({ cluster }) => runActivity(async () => dependencies.locateCluster(cluster)),
    listBaseBackups: ({ cluster, limit }) =>
      runActivity(async (step) => {
        const store = dependencies.openStore(dependencies.locateCluster(cluster).archiveUrl);
        const { backups } = await listBaseBackups(store, { signal: step.signal, cipher: dependencies.cipher });
        return backups.slice(-limit);
      }),
  };
}

async function planRestore(dependencies: ControlDependencies, input: PlanInput, signal: AbortSignal): Promise<PlannedRestore> {
  const { request, sourceProof } = input;
  const source = dependencies.locateCluster(request.cluster);
  const childArchiveUrl = dependencies.archiveUrlForNewCluster(request.cluster, request.name);
  await assertArchiveUnused(dependencies.openStore(childArchiveUrl), signal);
  const store = dependencies.openStore(source.archiveUrl);
  const plan = await claimedPlan(store, (removed) => settledPlan(dependencies, { ...input, store, removed }, signal), signal);
  // Behind a hole the flushed segment cannot be seen; whether the restore can do without it is decided when recovery has ended.
  if (plan.holeAfterView === undefined && lacksFlushed(plan, sourceProof)) {
    throw new WalkbackError(
      'WAL_NOT_ARCHIVED',
      `The segment ${sourceProof?.segment}, which ${request.cluster} closed for this restore, is not in the archive yet.`,
      { facts: { segment: sourceProof?.segment ?? null } },
    );
  }
  return { source, childArchiveUrl, plan };
}
