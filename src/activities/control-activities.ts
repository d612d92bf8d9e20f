/** Activities that need only the archive: they run on any worker. */
import { setTimeout as delay } from 'node:timers/promises';
import { listBaseBackups } from '../archive/catalog.ts';
import { withWholeChains } from '../archive/chain-listing.ts';
import type { WalArchive } from '../archive/wal-archive.ts';
import { readRestorePoint } from '../archive/restore-points.ts';
import { baseBackupsPrefix, walPrefix } from '../archive/layout.ts';
import { readWalHoldings } from '../archive/wal-holdings.ts';
import { WalkbackError } from '../domain/errors.ts';
import { parseInstant } from '../domain/instant.ts';
import { planRecovery, type RecoveryPlan, viewHolds } from '../domain/recovery-plan.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { runActivity } from './activity.ts';
import { createArchiveActivities } from './archive-activities.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import { createFamilyActivities } from './family-activities.ts';
import { claimedPlan } from './restore-claim.ts';
import type { ControlActivities, PlanInput, PlannedRestore } from './types.ts';

/** Agents archive several segments at a time, so a later one may be there before an earlier one: a hole counts once it has lasted this long. */
const holeSettlesWithinMs = 10_000;
const holePollIntervalMs = 500;

/** Makes the activities of the task queue `walkback`. */
export function createControlActivities(dependencies: ControlDependencies): ControlActivities {
  return {
    ...createArchiveActivities(dependencies),
    ...createFamilyActivities(dependencies),
    planRestore: (input) => runActivity((step) => planRestore(dependencies, input, step.signal)),
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

/** A plan that a hole spoils is made again for as long as the hole may close by itself. @throws WalkbackError as planRecovery */
async function settledPlan(
  dependencies: ControlDependencies,
  { request, sourceProof, store, removed }: PlanInput & { readonly store: ObjectStore; readonly removed: ReadonlySet<string> },
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const archive = walArchiveOf(store, dependencies);
  const holeIsFilledLater = request.source === 'salvage' && sourceProof === undefined;
  const deadlineMs = Date.now() + holeSettlesWithinMs;
  for (;;) {
    const isLastLook = Date.now() >= deadlineMs;
    try {
      const plan = await planByListing({ store, archive, removed, cipher: dependencies.cipher, holeIsFilledLater }, request, signal);
      if (isLastLook || plan.holeAfterView === undefined || !lacksFlushed(plan, sourceProof)) return plan;
    } catch (error) {
      if (isLastLook || !(error instanceof WalkbackError) || error.code !== 'WAL_MISSING') throw error;
    }
    await delay(holePollIntervalMs, undefined, { signal });
  }
}

function lacksFlushed(plan: RecoveryPlan, sourceProof: PlanInput['sourceProof']): boolean {
  return sourceProof !== undefined && !viewHolds(plan.view, { timeline: sourceProof.timeline, name: sourceProof.segment });
}

/** What a plan is made from. */
interface PlanSource extends Pick<ControlDependencies, 'cipher'> {
  readonly store: ObjectStore;
  readonly archive: WalArchive;
  /** Backups that retention is removing. */
  readonly removed: ReadonlySet<string>;
  /** What a dead source has not archived is brought into the archive once the restore is planned. */
  readonly holeIsFilledLater: boolean;
}

async function planByListing(
  { store, archive, removed, cipher, holeIsFilledLater }: PlanSource,
  request: CompleteRestoreRequest,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const [listing, wal] = await Promise.all([listBaseBackups(store, { signal, cipher }), readWalHoldings(archive, signal)]);
  const backups = withWholeChains(listing.backups).filter((candidate) => !removed.has(candidate.name));
  const closedAt = async (segment: string) => {
    const text = await archive.closedAt(segment, { signal });
    return text === undefined ? undefined : parseInstant(text);
  };
  const { target, timeline, backup } = request;
  const restorePoint = target.kind === 'name' ? await readRestorePoint(store, target.name, { signal }) : undefined;
  const restorePointLsn = restorePoint?.lsn;
  return await planRecovery({ target, timeline, backup, backups, wal, closedAt, restorePointLsn, holeIsFilledLater });
}

/** A restored cluster never writes where another one has written. @throws WalkbackError ARCHIVE_PREFIX_IN_USE */
async function assertArchiveUnused(store: ObjectStore, signal: AbortSignal): Promise<void> {
  for (const prefix of [baseBackupsPrefix, walPrefix]) {
    for await (const { key } of store.list(prefix, { signal })) {
      throw new WalkbackError('ARCHIVE_PREFIX_IN_USE', `The archive of the restored cluster, ${store.url}, is in use: it holds ${key}.`, {
        facts: { archive: store.url },
      });
    }
  }
}
