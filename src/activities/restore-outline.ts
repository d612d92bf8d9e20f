/** What the archive alone tells of a restore before it is done. Reads, and claims nothing. */
import { listBaseBackups } from '../archive/catalog.ts';
import { withWholeChains } from '../archive/chain-listing.ts';
import { readLaterRecord } from '../archive/dated-records.ts';
import { newestReports } from '../archive/landing-reports.ts';
import { walPrefix } from '../archive/layout.ts';
import { readArchiveWindow } from '../archive/read-window.ts';
import { listRemovalMarks } from '../archive/restore-claims.ts';
import { readRestorePoint } from '../archive/restore-points.ts';
import type { ArchiveWindow, WindowLimits } from '../domain/archive-window.ts';
import type { BaseBackup } from '../domain/base-backup.ts';
import type { DatedRecord } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import { formatLsn, lsn } from '../domain/lsn.ts';
import { found, type PlanCheck, type PlanCheckName, refused } from '../domain/plan-check.ts';
import {
  estimateRestore,
  nearestInstants,
  reachesTarget,
  segmentOfView,
  segmentsToTarget,
  walCheck,
  whyThisBackup,
} from '../domain/plan-outline.ts';
import type { PlannedBackup, PlannedWal, RestoreOutline } from '../domain/plan-report.ts';
import { lastSegmentOf, type RecoveryPlan, segmentCountOf } from '../domain/recovery-plan.ts';
import { measuredRates, measuredRestoresMaximum } from '../domain/restore-rates.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { parseWalSegmentName, segmentStart } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { type ControlDependencies, walArchiveOf } from './dependencies.ts';
import { assertArchiveUnused, closingTime, settledPlan } from './plan-by-listing.ts';
import type { OutlinedRestore } from './plan-types.ts';

/** All are looked at; the answer holds few of them. */
const windowLimits: WindowLimits = { backups: 10_000, holes: 10_000, backupsOfHole: 3 };
const holesInAnswer = 20;
const chainInAnswer = 50;
/** Segments whose stored size stands for that of all. */
const sampledSegments = 8;

/** Looks at the archive. A plan that cannot be made is a refusal among the checks. */
export async function outlineRestore(
  dependencies: ControlDependencies,
  request: CompleteRestoreRequest,
  signal: AbortSignal,
): Promise<OutlinedRestore> {
  const { archiveUrl } = dependencies.locateCluster(request.cluster);
  const store = dependencies.openStore(archiveUrl);
  const look: Look = { dependencies, request, store, signal };
  const prefix = await checked('archive', async () => {
    const url = dependencies.archiveUrlForNewCluster(request.cluster, request.name);
    await assertArchiveUnused(dependencies.openStore(url), signal);
    return `The restored cluster archives to ${url}, which holds no backup and no WAL.`;
  });
  const window = await readWindow(look);
  const { nearest } = window;
  try {
    const plan = await settledPlan(dependencies, { request, store, removed: await listRemovalMarks(store, signal) }, signal);
    const backup = await describeBackup(look, plan);
    const wal = await describeWal(look, plan);
    const walBytes = (wal.segmentsToTarget ?? wal.segmentCount) * plan.walSegmentBytes;
    const { storedBytes: backupStoredBytes, restoredBytes: backupRestoredBytes } = backup;
    const estimate = estimateRestore(
      { backupStoredBytes, backupRestoredBytes, walStoredBytes: wal.storedBytes, walBytes },
      measuredRates(await newestReports(store, dependencies.openStore, { limit: measuredRestoresMaximum, signal }), plan.walSegmentBytes),
    );
    const reach = walCheck(plan, { ...request, laterRecord: await laterRecordOf(look, plan) });
    const checks = [prefix, found('base-backup', plan.givenUp === undefined ? 'ok' : 'warning', backup.why), reach];
    // What the plan reaches, or the source will bring, can be restored whatever the archive's newest segments say.
    const outline = { backup, wal, estimate, window: { ...window, nearest: reach.verdict === 'ok' ? null : nearest }, checks };
    return { archiveUrl, plan, outline };
  } catch (error) {
    if (!(error instanceof WalkbackError) || error.retryable) throw error;
    const checks = [prefix, refused(error.code === 'WAL_MISSING' ? 'wal' : 'base-backup', error)];
    return { archiveUrl, plan: null, outline: { backup: null, wal: null, estimate: null, window: { ...window, nearest }, checks } };
  }
}

/** What every part of the look needs. */
interface Look {
  readonly dependencies: ControlDependencies;
  readonly request: CompleteRestoreRequest;
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
}

async function readWindow({ dependencies, request, store, signal }: Look): Promise<RestoreOutline['window']> {
  const openWal = (segmentBytes?: number) => walArchiveOf(store, { ...dependencies, segmentBytes });
  const { cluster, target } = request;
  const window: ArchiveWindow = await readArchiveWindow(store, {
    cluster,
    openWal,
    cipher: dependencies.cipher,
    limits: windowLimits,
    signal,
  });
  const { earliest, latest, lastCommit, holes } = window;
  return { earliest, latest, lastCommit, holes: holes.slice(-holesInAnswer), nearest: nearestInstants(window, target) };
}

async function describeBackup({ dependencies, request, store, signal }: Look, plan: RecoveryPlan): Promise<PlannedBackup> {
  const { backups, damaged } = await listBaseBackups(store, { signal, cipher: dependencies.cipher });
  const { backup } = plan;
  const { name, finishTime, pgVersion, uncompressedBytes, restoredBytes = uncompressedBytes } = backup;
  const chain = chainOf(backup, backups);
  const damagedNames = damaged.map((each) => each.name);
  const facts = {
    plan,
    target: request.target,
    backups: withWholeChains(backups),
    damaged: damagedNames,
    isNamed: request.backup !== undefined,
  };
  return {
    name,
    kind: backup.deltaFrom === undefined ? 'full' : 'incremental',
    finishTime,
    pgVersion,
    chain: chain.slice(-chainInAnswer).map((link) => link.name),
    why: whyThisBackup(facts),
    storedBytes: chain.reduce((total, { compressedBytes }) => total + compressedBytes, 0),
    restoredBytes,
  };
}

/** The full backup first. That the chain is whole was seen when it was planned with. */
function chainOf(backup: BaseBackup, backups: readonly BaseBackup[]): readonly BaseBackup[] {
  const chain = [backup];
  for (let above = backup; above.deltaFrom !== undefined && chain.length <= backups.length;) {
    const parent = backups.find(({ name }) => name === above.deltaFrom);
    if (parent === undefined) return chain;
    chain.unshift(parent);
    above = parent;
  }
  return chain;
}

async function describeWal({ dependencies, request, store, signal }: Look, plan: RecoveryPlan): Promise<PlannedWal> {
  const archive = walArchiveOf(store, { ...dependencies, segmentBytes: plan.walSegmentBytes });
  const { target } = request;
  const restorePoint = target.kind === 'name' ? await readRestorePoint(store, target.name, { signal }) : undefined;
  const closedAt = (segment: string) => closingTime(archive, segment, signal);
  const toTarget = await segmentsToTarget(plan, target, { closedAt, restorePointLsn: restorePoint?.lsn });
  const segmentCount = segmentCountOf(plan.view);
  const last = plan.view.segments.at(-1)?.last;
  return {
    ranges: plan.view.segments,
    segmentCount,
    segmentsToTarget: toTarget,
    histories: plan.view.histories,
    closedAt: last === undefined ? null : ((await closedAt(last)) ?? null),
    storedBytes: await storedBytesOf(store, { plan, count: toTarget ?? segmentCount, signal }),
  };
}

/** For a source that is left alone: what else would prove an early end, once replay has come to it. */
async function laterRecordOf({ dependencies, request, store, signal }: Look, plan: RecoveryPlan): Promise<DatedRecord | undefined> {
  const { target, source } = request;
  const last = lastSegmentOf(plan.view);
  if (target.kind !== 'time' || source !== 'leave' || last === undefined || reachesTarget(plan, target)) return undefined;
  const { view, walSegmentBytes: segmentBytes } = plan;
  const { number } = parseWalSegmentName(last, segmentBytes);
  const endLsn = formatLsn(lsn(segmentStart(number + 1n, segmentBytes) - 1n));
  const archive = walArchiveOf(store, { ...dependencies, segmentBytes });
  return await readLaterRecord(archive, { view, segmentBytes, endLsn, target: target.time, signal });
}

async function storedBytesOf(
  store: ObjectStore,
  { plan, count, signal }: { readonly plan: RecoveryPlan; readonly count: number; readonly signal: AbortSignal },
): Promise<number> {
  const sampled = Math.min(count, sampledSegments);
  let bytes = 0;
  for (let index = 0; index < sampled; index += 1) {
    const segment = segmentOfView(plan, Math.floor((index * count) / sampled));
    // By listing, because the compression is part of the key.
    for await (const { sizeBytes } of store.list(`${walPrefix}${segment}`, { shallow: true, signal })) bytes += sizeBytes;
  }
  return sampled === 0 ? 0 : Math.round((bytes / sampled) * count);
}

async function checked(name: PlanCheckName, look: () => Promise<string>): Promise<PlanCheck> {
  try {
    return found(name, 'ok', await look());
  } catch (error) {
    if (error instanceof WalkbackError && !error.retryable) return refused(name, error);
    throw error;
  }
}
