/** Plans a restore from listings of the archive. */
import { setTimeout as delay } from 'node:timers/promises';
import { listBaseBackups } from '../archive/catalog.ts';
import { withWholeChains } from '../archive/chain-listing.ts';
import { backupOfKey, baseBackupsPrefix, walPrefix } from '../archive/layout.ts';
import { readRestorePoint } from '../archive/restore-points.ts';
import type { WalArchive } from '../archive/wal-archive.ts';
import { readWalHoldings } from '../archive/wal-holdings.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, parseInstant } from '../domain/instant.ts';
import type { DamagedBackup } from '../domain/landing-report.ts';
import { planRecovery, type RecoveryPlan, viewHolds } from '../domain/recovery-plan.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { assertMayPassOver, namingUnusable, passedOver, withDependents } from '../domain/unusable-backups.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import type { PlanInput } from './types.ts';

/** Agents archive several segments at a time, so a later one may be there before an earlier one: a hole counts once it has lasted this long. */
const holeSettlesWithinMs = 10_000;
const holePollIntervalMs = 500;

/** What is planned, and without which backups. */
interface SettledPlanOptions extends PlanInput {
  readonly store: ObjectStore;
  /** Backups that retention is removing. */
  readonly removed: ReadonlySet<string>;
}

/** A plan that a hole spoils is made again for as long as the hole may close by itself. @throws WalkbackError as planRecovery */
export async function settledPlan(
  dependencies: Pick<ControlDependencies, 'cipher'>,
  { request, sourceProof, without = [], store, removed }: SettledPlanOptions,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const archive = walArchiveOf(store, dependencies);
  const holeIsFilledLater = request.source === 'salvage' && sourceProof === undefined;
  const deadlineMs = performance.now() + holeSettlesWithinMs;
  for (;;) {
    const isLastLook = performance.now() >= deadlineMs;
    try {
      const plan = await planByListing(
        { store, archive, removed, cipher: dependencies.cipher, holeIsFilledLater, without },
        request,
        signal,
      );
      if (isLastLook || plan.holeAfterView === undefined || !lacksFlushed(plan, sourceProof)) return plan;
    } catch (error) {
      if (isLastLook || !(error instanceof WalkbackError) || error.code !== 'WAL_MISSING') throw error;
    }
    await delay(holePollIntervalMs, undefined, { signal });
  }
}

/** Does the plan not see the segment that the source closed for this restore? */
export function lacksFlushed(plan: RecoveryPlan, sourceProof: PlanInput['sourceProof']): boolean {
  return sourceProof !== undefined && !viewHolds(plan.view, { timeline: sourceProof.timeline, name: sourceProof.segment });
}

/** When the source closed a segment, where the archive knows it. */
export async function closingTime(archive: WalArchive, segment: string, signal: AbortSignal): Promise<Instant | undefined> {
  const text = await archive.closedAt(segment, { signal });
  return text === undefined ? undefined : parseInstant(text);
}

/** A restored cluster never writes where another one has written. @throws WalkbackError ARCHIVE_PREFIX_IN_USE */
export async function assertArchiveUnused(store: ObjectStore, signal: AbortSignal): Promise<void> {
  for (const prefix of [baseBackupsPrefix, walPrefix]) {
    for await (const { key } of store.list(prefix, { signal })) {
      throw new WalkbackError('ARCHIVE_PREFIX_IN_USE', `The archive of the restored cluster, ${store.url}, is in use: it holds ${key}.`, {
        facts: { archive: store.url },
      });
    }
  }
}

/** What a plan is made from. */
interface PlanSource extends Pick<ControlDependencies, 'cipher'> {
  readonly store: ObjectStore;
  readonly archive: WalArchive;
  readonly removed: ReadonlySet<string>;
  /** What a dead source has not archived is brought into the archive once the restore is planned. */
  readonly holeIsFilledLater: boolean;
  /** They turned out to be damaged. */
  readonly without: readonly DamagedBackup[];
}

async function planByListing(
  { store, archive, removed, cipher, holeIsFilledLater, without }: PlanSource,
  request: CompleteRestoreRequest,
  signal: AbortSignal,
): Promise<RecoveryPlan> {
  const [listing, wal] = await Promise.all([listBaseBackups(store, { signal, cipher }), readWalHoldings(archive, signal)]);
  // Left out before the chains are looked at: what builds on a damaged one is no use either.
  const spoilt = new Set(without.flatMap((damage) => [damage.backup, damage.key === null ? undefined : backupOfKey(damage.key)]));
  const sound = listing.backups.filter((candidate) => !spoilt.has(candidate.name));
  const backups = withWholeChains(sound).filter((candidate) => !removed.has(candidate.name));
  const unusable = withDependents(listing.damaged, listing.backups).filter(({ name }) => !removed.has(name) && !spoilt.has(name));
  const closedAt = (segment: string) => closingTime(archive, segment, signal);
  const { target, timeline, backup, allowOlderBackup = false } = request;
  const restorePoint = target.kind === 'name' ? await readRestorePoint(store, target.name, { signal }) : undefined;
  const restorePointLsn = restorePoint?.lsn;
  const options = { target, timeline, backup, backups, wal, closedAt, restorePointLsn, holeIsFilledLater };
  const plan = await planRecovery(options).catch((error: unknown) => {
    throw namingUnusable(error, unusable, backup);
  });
  // The only backup that the request names is what it is, whatever became of newer ones.
  if (backup !== undefined) return plan;
  const givenUp = await passedOver({ plan, target, unusable, restorePointLsn, closedAt });
  assertMayPassOver(givenUp, { plan, isAllowed: allowOlderBackup });
  return givenUp.length === 0 ? plan : { ...plan, givenUp };
}
