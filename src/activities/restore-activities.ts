/** Activities of a restore on the host where it lands, up to the start of the server. */
import { mkdir } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { restoreCommand } from '../agent/commands.ts';
import { prefetchDirectoryOf } from '../agent/restore/restore-fetcher.ts';
import { fetchBaseBackup } from '../archive/base-backup-fetch.ts';
import { readyExtractionThreads } from '../archive/fetch/extraction-threads.ts';
import type { FetchProgress } from '../archive/fetch/progress.ts';
import { majorOf } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { errorOfChecks } from '../domain/plan-check.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { restoreWorkflowId } from '../domain/workflow-ids.ts';
import { readControlData } from '../postgres/control-data.ts';
import { clearFetchedFiles, createDataDirectory, makeUnbootable } from '../postgres/data-directory.ts';
import { installationFor, type PostgresInstallation } from '../postgres/installations.ts';
import { startServer, stopServer } from '../postgres/process-control.ts';
import { settlePromotion } from '../postgres/promotion.ts';
import { configureRecovery, launchLogFile } from '../postgres/recovery-settings.ts';
import { readMarker, restoreDirectoryOf, updateMarker } from '../postgres/restore-marker.ts';
import { temporaryRolePrefix } from '../postgres/roles.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import { baselineOf } from './restore-baseline.ts';
import type { HostDependencies } from './dependencies.ts';
import { inspectHost } from './host-inspection.ts';
import { roomFor } from './room.ts';
import { endSourceWork } from './source-lease.ts';
import type { HostActivities, HostCheck, RestoreJob } from './types.ts';

const startTimeoutMs = 10 * 60_000;
const stopTimeoutMs = 2 * 60_000;

type RestoreActivities = Pick<
  HostActivities,
  | 'inspectHost'
  | 'checkHost'
  | 'releaseClaim'
  | 'createDataDirectory'
  | 'clearDataDirectory'
  | 'fetchBaseBackup'
  | 'configureRecovery'
  | 'startPostgres'
  | 'stopPostgres'
  | 'abandonRestore'
>;

/** Makes the part of the host activities that brings a data directory to its start. */
export function createRestoreActivities(dependencies: HostDependencies): RestoreActivities {
  return {
    inspectHost: ({ request, archiveUrl, plan }) =>
      runActivity(({ signal }) => {
        const restoreId = restoreWorkflowId(request.host, request.dataDirectory);
        return inspectHost(dependencies, { restoreId, request, archiveUrl, plan, signal });
      }),
    checkHost: (input) =>
      runActivity((step) => dependencies.leases.run(claimOf(input.job), step, (signal) => checkHost(dependencies, input, signal))),
    releaseClaim: (job) =>
      runActivity(async (step) => {
        await dependencies.leases.run(claimOf(job), step, () => dependencies.restoredClusters.release(job.restoreId));
        await endSourceWork(dependencies.leases, step);
        return null;
      }),
    createDataDirectory: (job) =>
      runActivity(async (step) => {
        const { restoreId, runId, name } = job;
        const marker = { restoreId, runId, name, createdAt: new Date().toISOString(), phase: 'created' } as const;
        return await dependencies.leases.run(job.dataDirectory, step, async (signal) => {
          const placed = await roomFor(job, { ...step, signal }, () => createDataDirectory(job.dataDirectory, marker));
          if (placed.phase !== 'abandoned') return null;
          throw new WalkbackError(
            'DATA_DIRECTORY_NOT_EMPTY',
            `${job.dataDirectory} holds what an earlier run of this restore left (${placed.runId}).`,
            { hint: 'Remove the directory when nothing in it is needed, or choose another one.' },
          );
        });
      }),
    clearDataDirectory: (job) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, async () => {
          await assertOurs(job);
          await clearFetchedFiles(job.dataDirectory);
          return null;
        }),
      ),
    fetchBaseBackup: (job) => runActivity((step) => fetch(dependencies, job, step)),
    configureRecovery: ({ job, dropTarget, startNumber }) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, async (signal) => {
          await roomFor(job, { ...step, signal }, () => configure(dependencies, job, { dropTarget, startNumber }));
          return null;
        }),
      ),
    startPostgres: ({ job, startNumber }) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, async (signal) => {
          const { binDirectory } = await installationOf(dependencies, job);
          await assertOurs(job);
          const logFile = launchLogFile(job.dataDirectory, startNumber);
          const prepare = () => settlePromotion(job.dataDirectory, job.plan.timeline);
          const start = { binDirectory, dataDirectory: job.dataDirectory, logFile, timeoutMs: startTimeoutMs, signal, prepare };
          await startServer(start).catch(endedInRecovery);
          return null;
        }),
      ),
    stopPostgres: (job) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, async () => {
          await assertOurs(job);
          await stopServer({ dataDirectory: job.dataDirectory, mode: 'fast', timeoutMs: stopTimeoutMs });
          return null;
        }),
      ),
    abandonRestore: ({ job }) => runActivity((step) => dependencies.leases.run(job.dataDirectory, step, () => abandon(dependencies, job))),
  };
}

/** Where the private socket of a restored cluster lies: a short path, the same for every attempt. */
export function socketDirectoryOf(dependencies: HostDependencies, job: Pick<RestoreJob, 'restoreId'>): string {
  return join(dependencies.runDirectory, createHash('sha256').update(job.restoreId).digest('hex').slice(0, 12));
}

/** The temporary superuser of a restore's role swap. */
export function temporaryRoleOf(job: Pick<RestoreJob, 'restoreId'>): string {
  return `${temporaryRolePrefix}${createHash('sha256').update(job.restoreId).digest('hex').slice(0, 12)}`;
}

/** The programs that fit the backup. @throws WalkbackError POSTGRES_NOT_FOUND */
export async function installationOf(dependencies: HostDependencies, job: RestoreJob): Promise<PostgresInstallation> {
  return await installationFor(majorOf(job.plan.backup.pgVersion), dependencies.installations);
}

/** The name of the lease on what a restore takes of a host: of checking and giving back, the later one has the last word. */
function claimOf({ restoreId }: Pick<RestoreJob, 'restoreId'>): string {
  return `the claim of ${restoreId}`;
}

/** A directory that another restore owns, or nobody, is not touched. */
export async function assertOurs(job: RestoreJob): Promise<void> {
  const marker = await readMarker(job.dataDirectory);
  if (marker?.restoreId === job.restoreId) return;
  throw new WalkbackError('DATA_DIRECTORY_IN_USE', `${job.dataDirectory} does not carry the marker of the restore ${job.restoreId}.`, {
    facts: { dataDirectory: job.dataDirectory },
  });
}

/** Refuses before any work, or claims what the restore takes on this host. */
async function checkHost(
  dependencies: HostDependencies,
  { request, job }: { readonly request: CompleteRestoreRequest; readonly job: RestoreJob },
  signal: AbortSignal,
): Promise<HostCheck> {
  const { restoreId, name, dataDirectory, port, adminRole, database, archiveUrl, plan } = job;
  const { checks, installation, disk } = await inspectHost(dependencies, { restoreId, request, archiveUrl, plan, signal });
  const refusal = errorOfChecks(checks);
  if (refusal !== undefined) throw refusal;
  if (installation === null || disk === null)
    throw new TypeError('an inspection with a plan and without a refusal knows programs and disk');
  // They load while the WAL is proven, and the first fetch of an agent does not wait for them.
  if (dependencies.cipher === undefined) readyExtractionThreads();
  if (request.baseline !== undefined) await baselineOf(dependencies, job, signal);
  await dependencies.restoredClusters.claim({
    name,
    restoreId,
    state: 'restoring',
    claimedAt: new Date().toISOString(),
    dataDirectory,
    port,
    socketDirectory: socketDirectoryOf(dependencies, job),
    adminRole,
    database,
    archiveUrl: job.childArchiveUrl,
  });
  const { freeBytes, neededBytes } = disk;
  return { postgresVersion: installation.version, binDirectory: installation.binDirectory, freeBytes, neededBytes };
}

async function fetch(
  dependencies: HostDependencies,
  job: RestoreJob,
  step: ActivityStep,
): Promise<{ bytes: number; parts: number; partsAlreadyFetched: number }> {
  return await dependencies.leases.run(job.dataDirectory, step, async (signal) => {
    await assertOurs(job);
    let last: FetchProgress | undefined;
    const fetchOn = async () =>
      fetchBaseBackup({
        store: dependencies.openStore(job.archiveUrl),
        cipher: dependencies.cipher,
        backup: job.plan.backup.name,
        into: job.dataDirectory,
        stateDirectory: restoreDirectoryOf(job.dataDirectory),
        concurrency: dependencies.downloadConcurrency,
        signal,
        onProgress: (progress) => {
          last = progress;
          step.report(progress);
        },
      });
    const report: ActivityStep['report'] = (progress) => step.report({ ...last, ...progress });
    const fetched = await roomFor(job, { signal, report }, fetchOn);
    await updateMarker(job.dataDirectory, { phase: 'fetched' });
    return fetched;
  });
}

async function configure(
  dependencies: HostDependencies,
  job: RestoreJob,
  start: { readonly dropTarget: boolean; readonly startNumber: number },
): Promise<void> {
  await assertOurs(job);
  const { systemIdentifier, walSegmentBytes } = await readControlData(job.dataDirectory);
  const { restoreId, archiveUrl, dataDirectory } = job;
  await dependencies.walService.registerRestore({
    restoreId,
    archiveUrl,
    dataDirectory,
    systemIdentifier,
    segmentBytes: walSegmentBytes,
    view: { ...job.plan.view, segments: [...job.plan.view.segments], histories: [...job.plan.view.histories] },
  });
  const prefetchDirectory = prefetchDirectoryOf(dataDirectory);
  await mkdir(prefetchDirectory, { recursive: true, mode: 0o700 });
  await configureRecovery({
    dataDirectory,
    settings: {
      major: majorOf(job.plan.backup.pgVersion),
      port: job.port,
      socketDirectory: socketDirectoryOf(dependencies, job),
      clusterName: job.name,
      restoreCommand: restoreCommand({ socketPath: dependencies.socketPath, restoreId, prefetchDirectory }),
      target: start.dropTarget ? { kind: 'latest' } : job.target,
      timeline: job.timeline,
      atTarget: job.atTarget,
      adminRole: job.adminRole,
      temporaryRole: temporaryRoleOf(job),
      startNumber: start.startNumber,
      ...(job.minimums === undefined ? {} : { minimums: job.minimums }),
    },
  });
  await updateMarker(dataDirectory, { phase: 'recovering' });
}

/** A server that is gone soon after its launch has said why in its log, and awaitRecovery reads that: an early end is a value, not a failure. */
function endedInRecovery(error: unknown): void {
  if (!(error instanceof WalkbackError) || error.code !== 'POSTGRES_DID_NOT_START') throw error;
}

/** Stops the server and makes the directory unbootable; a directory that is not this restore's is left alone. */
async function abandon(dependencies: HostDependencies, job: RestoreJob): Promise<{ kept: boolean }> {
  await dependencies.restoredClusters.release(job.restoreId);
  await dependencies.walService.unregisterRestore(job.restoreId);
  const marker = await readMarker(job.dataDirectory);
  if (marker?.restoreId !== job.restoreId) return { kept: false };
  await stopServer({ dataDirectory: job.dataDirectory, mode: 'fast', timeoutMs: stopTimeoutMs });
  await makeUnbootable(job.dataDirectory);
  await updateMarker(job.dataDirectory, { phase: 'abandoned' });
  // It may have come as far as to be open.
  await dependencies.walService.unregisterCluster(job);
  await dependencies.restoredClusters.forget(job.restoreId);
  return { kept: true };
}
