/** Activities of a restore from the end of recovery until it is open to clients. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { archiveCommand } from '../agent/commands.ts';
import type { Failure } from '../agent/protocol.ts';
import { generateSecretFile, resolveSecretReference } from '../agent/secret-reference.ts';
import { readLaterRecord } from '../archive/dated-records.ts';
import { isProvablyAfter } from '../domain/early-end.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { RoleReport } from '../domain/landing-report.ts';
import type { CompleteRestoreRequest, RoleSwap } from '../domain/restore-request.ts';
import { type ConnectOptions, connectServer } from '../postgres/connection.ts';
import { readControlData } from '../postgres/control-data.ts';
import { serverState } from '../postgres/server-state.ts';
import { proveCredentials } from '../postgres/credentials-proof.ts';
import { openConfiguration } from '../postgres/open-configuration.ts';
import { stopServer } from '../postgres/process-control.ts';
import { launchLogFile } from '../postgres/recovery-settings.ts';
import { readRecoveryProgress, resumeReplay } from '../postgres/recovery-progress.ts';
import { updateMarker } from '../postgres/restore-marker.ts';
import { type RoleReplacement, swapRoles } from '../postgres/roles.ts';
import { copyCapabilities } from '../storage/capability-record.ts';
import { swapRecordOf } from '../postgres/swap-record.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import { awaitRecovery } from './await-recovery.ts';
import { type HostDependencies, walArchiveOf } from './dependencies.ts';
import { assertPortFree } from './host-inspection.ts';
import { keepServerUp, startLandedServer } from './private-server.ts';
import { assertOurs, installationOf, socketDirectoryOf, temporaryRoleOf } from './restore-activities.ts';
import { roomFor } from './room.ts';
import type { HostActivities, Landing, OpenedCluster, RestoreJob } from './types.ts';

const startTimeoutMs = 10 * 60_000;
const stopTimeoutMs = 5 * 60_000;
/** The start that opens the cluster has a log of its own behind those of recovery. */
const openStartNumber = 1000;

type LandingActivities = Pick<HostActivities, 'awaitRecovery' | 'promotePaused' | 'swapRoles' | 'openToClients'>;

/** Makes the part of the host activities that turns a recovered server into a cluster of its own. */
export function createLandingActivities(dependencies: HostDependencies): LandingActivities {
  const serverOf = (job: RestoreJob): ConnectOptions => ({
    host: socketDirectoryOf(dependencies, job),
    port: job.port,
    user: job.adminRole,
    database: 'postgres',
  });
  return {
    awaitRecovery: ({ job, startNumber, resumed }) =>
      runActivity(async (step) => {
        const watch = { job, startNumber, resumed, server: serverOf(job), walFailure: () => walFailureOf(dependencies, job) };
        const outcome = await awaitRecovery(watch, step);
        if (outcome.kind !== 'ended-early') return outcome;
        return { ...outcome, landing: await withLaterRecord(dependencies, { job, landing: outcome.landing, signal: step.signal }) };
      }),
    promotePaused: (job) =>
      runActivity(async () => {
        await assertOurs(job);
        try {
          await using connection = await connectServer(serverOf(job));
          const { inRecovery } = await readRecoveryProgress(connection);
          if (inRecovery) await resumeReplay(connection);
        } catch (error) {
          // A server that is gone is no matter of trying again: whoever awaits the end of recovery finds it gone, and it is started anew.
          if ((await serverState(job.dataDirectory)).pid !== undefined) throw error;
        }
        return null;
      }),
    swapRoles: ({ job, request }) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, (signal) =>
          roomFor(job, { ...step, signal }, () => replaceRoles(dependencies, { job, request, server: serverOf(job), signal })),
        ),
      ),
    openToClients: ({ job, request }) =>
      runActivity((step) =>
        dependencies.leases.run(job.dataDirectory, step, (signal) =>
          roomFor(job, { ...step, signal }, () => openToClients(dependencies, { job, request }, { ...step, signal })),
        ),
      ),
  };
}

/** The archive tells by itself whether the source's clock had passed the target: by a closing time, else by what was replayed. */
async function withLaterRecord(
  dependencies: HostDependencies,
  { job, landing, signal }: { readonly job: RestoreJob; readonly landing: Landing; readonly signal: AbortSignal },
): Promise<Landing> {
  const { target, plan, archiveUrl } = job;
  const { endLsn } = landing.summary;
  if (target.kind !== 'time' || endLsn === undefined) return landing;
  if (plan.viewClosedAt !== undefined && isProvablyAfter(plan.viewClosedAt, target.time)) return landing;
  const segmentBytes = plan.walSegmentBytes;
  const archive = walArchiveOf(dependencies.openStore(archiveUrl), { cipher: dependencies.cipher, segmentBytes });
  const laterRecord = await readLaterRecord(archive, { view: plan.view, segmentBytes, endLsn, target: target.time, signal });
  return laterRecord === undefined ? landing : { ...landing, laterRecord };
}

async function walFailureOf(dependencies: HostDependencies, job: RestoreJob): Promise<Failure | undefined> {
  const { restores } = await dependencies.walService.status();
  return restores.find((restore) => restore.restoreId === job.restoreId)?.lastError ?? undefined;
}

interface RoleWork {
  readonly job: RestoreJob;
  readonly request: CompleteRestoreRequest;
  readonly server: ConnectOptions;
  readonly signal: AbortSignal;
}

async function replaceRoles(
  dependencies: HostDependencies,
  work: RoleWork,
): Promise<{ roles: readonly RoleReport[]; locked: readonly string[] }> {
  const { job, request, signal } = work;
  await keepServerUp(dependencies, job, signal);
  const { user: adminRole, ...server } = { ...work.server, signal };
  const roles = await Promise.all(request.roles.map((swap) => replacementOf(swap, passwordFileOf(dependencies, job, swap))));
  const swapped = await swapRoles({
    server,
    adminRole,
    temporaryRole: temporaryRoleOf(job),
    roles,
    otherLoginRoles: request.otherLoginRoles,
    record: swapRecordOf(job.dataDirectory),
  });
  const proofs = await proveCredentials({ server, reader: await adminAccess(dependencies, job, request), roles });
  const reports = request.roles.map((swap, index): RoleReport => {
    const proof = proofs[index];
    if (proof === undefined) throw new WalkbackError('ROLE_SWAP_FAILED', `Nothing was proved for "${swap.newName}".`);
    return {
      role: swap.role,
      newName: swap.newName,
      passwordFile: swap.password.kind === 'keep' ? null : passwordFileOf(dependencies, job, swap),
      oldPasswordRefused: proof.oldPasswordRefused,
      oldPasswordProof: proof.proof,
    };
  });
  return { roles: reports, locked: swapped.locked };
}

function passwordFileOf(dependencies: HostDependencies, job: RestoreJob, swap: RoleSwap): string {
  const ownPlace = join(dependencies.stateDirectory, 'credentials', job.name, encodeURIComponent(swap.newName));
  return swap.password.kind === 'keep' ? ownPlace : (swap.password.path ?? ownPlace);
}

/** Passwords are read here and live in memory only as long as the swap takes. */
async function replacementOf(swap: RoleSwap, passwordFile: string): Promise<RoleReplacement> {
  const { role, newName } = swap;
  if (swap.password.kind === 'keep') return { role, newName, password: undefined };
  if (swap.password.kind === 'generate') await mkdir(join(passwordFile, '..'), { recursive: true, mode: 0o700 });
  const password =
    swap.password.kind === 'generate' ? await generateSecretFile(passwordFile) : await resolveSecretReference(`file:${passwordFile}`);
  const oldPassword =
    swap.oldPasswordFile === undefined ? {} : { oldPassword: await resolveSecretReference(`file:${swap.oldPasswordFile}`) };
  return { role, newName, password, ...oldPassword };
}

async function openToClients(
  dependencies: HostDependencies,
  input: { readonly job: RestoreJob; readonly request: CompleteRestoreRequest },
  step: Pick<ActivityStep, 'signal'>,
): Promise<OpenedCluster> {
  const { job, request } = input;
  await assertOurs(job);
  const { dataDirectory, name } = job;
  const { binDirectory } = await installationOf(dependencies, job);
  const { systemIdentifier, walSegmentBytes } = await readControlData(dataDirectory);
  const listenAddresses = request.listenAddresses ?? dependencies.listenAddresses;
  const socketDirectory = socketDirectoryOf(dependencies, job);
  await copyCapabilities(dependencies.openStore(job.archiveUrl), dependencies.openStore(job.childArchiveUrl), step);
  await dependencies.walService.registerCluster({
    name,
    dataDirectory,
    systemIdentifier,
    archiveUrl: job.childArchiveUrl,
    segmentBytes: walSegmentBytes,
    persist: true,
  });
  const { notCarriedOver } = await openConfiguration({
    dataDirectory,
    binDirectory,
    settings: {
      clusterName: name,
      port: job.port,
      listenAddresses,
      socketDirectory,
      allowFrom: request.allowFrom,
      adminRole: adminRoleAfterSwap(job, request),
      operatingSystemUser: dependencies.operatingSystemUser,
      archiveCommand: archiveCommand({ socketPath: dependencies.socketPath, stateDirectory: dependencies.stateDirectory, cluster: name }),
    },
  });
  await stopServer({ dataDirectory, mode: 'fast', timeoutMs: stopTimeoutMs });
  // It was free when the restore began. PostgreSQL would tell nobody but its log, which the cluster's own configuration may send elsewhere.
  await assertPortFree(job.port);
  const logFile = launchLogFile(dataDirectory, openStartNumber);
  await startLandedServer({ binDirectory, dataDirectory, logFile, timeoutMs: startTimeoutMs, signal: step.signal });
  await dependencies.walService.unregisterRestore(job.restoreId);
  await updateMarker(dataDirectory, { phase: 'open' });
  await dependencies.restoredClusters.markOpen(name, adminRoleAfterSwap(job, request));
  return { listenAddresses, socketDirectory, settingsNotCarriedOver: notCarriedOver };
}

/** The admin logs in without a password over the private socket, unless it is itself one of the renamed. */
export async function adminAccess(
  dependencies: HostDependencies,
  job: RestoreJob,
  request: CompleteRestoreRequest,
): Promise<{ user: string; password?: string }> {
  const swap = request.roles.find((candidate) => candidate.role === job.adminRole);
  if (swap === undefined) return { user: job.adminRole };
  const { password } = await replacementOf(swap, passwordFileOf(dependencies, job, swap));
  return { user: swap.newName, ...(password === undefined ? {} : { password }) };
}

function adminRoleAfterSwap(job: RestoreJob, request: CompleteRestoreRequest): string {
  return request.roles.find((swap) => swap.role === job.adminRole)?.newName ?? job.adminRole;
}
