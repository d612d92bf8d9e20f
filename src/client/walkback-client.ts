/** Starts and finds operations. */
import type { Client } from '@temporalio/client';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, microsecondsOf } from '../domain/instant.ts';
import { completeRestoreRequest, type RestoreRequest } from '../domain/restore-request.ts';
import { checkedRestorePointName, describeTarget } from '../domain/recovery-target.ts';
import type { RestorePoint } from '../domain/restore-point.ts';
import { controlTaskQueue, hostTaskQueue } from '../domain/task-queues.ts';
import { backupWorkflowId, enableWorkflowId, restorePointWorkflowId, restoreWorkflowId } from '../domain/workflow-ids.ts';
import { connectTemporal, type TemporalSettings } from '../temporal/connection.ts';
import type {
  BackupProgress,
  BaseBackupRequest,
  BaseBackupReport,
  EnableArchivingReport,
  EnableArchivingRequest,
  EnableProgress,
} from '../workflows/contract.ts';
import { workflowTypes } from '../workflows/contract.ts';
import { type BackupHandle, clientError, operationHandle, type OperationHandle, restoreHandle, type RestoreHandle } from './handles.ts';
import { type ArchiveOperations, createArchiveOperations } from './archive-operations.ts';
import { createFamilyOperations, type FamilyOperations } from './family-operations.ts';
import { isPolled } from './pollers.ts';
import { assertClusterName, startOperation, type StartOptions } from './start-operation.ts';
import { type BackupSchedules, createBackupSchedules } from './schedules.ts';

/** Where Temporal is, and which workers answer. */
export interface WalkbackClientOptions extends TemporalSettings {
  /** Task queue of the workers. Default `walkback`. */
  readonly taskQueue?: string;
  /** A client of your own; then nothing is connected or closed here. */
  readonly client?: Client;
}

/** How a restore is started. */
export interface StartRestoreOptions {
  /** Refuse when no agent answers on the host. Default true; without it a host that starts within half a minute is in time. */
  readonly requireAgent?: boolean;
}

/** The client library. Close it with `await using` or `close()`. */
export interface WalkbackClient extends ArchiveOperations, FamilyOperations, AsyncDisposable {
  /**
   * Starts a restore and returns at once.
   * @throws WalkbackError INVALID_REQUEST, INVALID_INSTANT, TARGET_IN_FUTURE, NO_AGENT_ON_HOST before anything is started; ALREADY_RUNNING
   * when a restore into that directory of that host runs already
   */
  startRestore(request: RestoreRequest, options?: StartRestoreOptions): Promise<RestoreHandle>;
  /** Starts a base backup; `kind` is full unless it says otherwise. @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING */
  startBackup(request: BaseBackupRequest): Promise<BackupHandle>;
  /** Starts to make a cluster archive its WAL. @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING */
  startEnable(request: EnableArchivingRequest): Promise<OperationHandle<EnableProgress, EnableArchivingReport>>;
  /**
   * Makes a restore point, waits until it is archived, and tells where it lies.
   * @throws WalkbackError INVALID_REQUEST, NAME_IN_USE, ALREADY_RUNNING, NO_AGENT_ON_HOST, and whatever the workflow fails with
   */
  createRestorePoint(request: { readonly cluster: string; readonly name: string }): Promise<RestorePoint>;
  /** Finds a restore by its id, running or ended. */
  getRestore(id: string): RestoreHandle;
  /** Finds a base backup by its id, `backup/CLUSTER`. */
  getBackup(id: string): BackupHandle;
  /** Does a worker take work? Without one an operation can be started, and waits until one comes. */
  hasWorker(): Promise<boolean>;
  /** Schedules of base backups. */
  readonly schedules: BackupSchedules;
  close(): Promise<void>;
}

/** Connects to Temporal. @throws WalkbackError TEMPORAL_UNREACHABLE, INVALID_CONFIGURATION */
export async function createWalkbackClient(options: WalkbackClientOptions = {}): Promise<WalkbackClient> {
  const taskQueue = options.taskQueue ?? controlTaskQueue;
  const own = options.client === undefined ? await connectTemporal(options) : undefined;
  const client = options.client ?? own?.client;
  if (client === undefined) throw new WalkbackError('INTERNAL', 'There is no Temporal client.');
  const close = async () => await own?.[Symbol.asyncDispose]();
  const start = (operation: StartOptions) => startOperation(client, taskQueue, operation);
  return {
    startRestore: async (request, { requireAgent = true } = {}) => {
      const complete = completeRestoreRequest(request, new Date());
      if (requireAgent) await assertAgentAnswers(client, complete.host);
      const workflowId = restoreWorkflowId(complete.host, complete.dataDirectory);
      const target = complete.target.kind === 'time' ? { target: dateOf(complete.target.time) } : {};
      const attributes = { operation: 'restore', cluster: complete.cluster, host: complete.host, ...target } as const;
      const summary = `Restore ${complete.cluster} to ${describeTarget(complete.target)} as ${complete.name}`;
      await start({ type: workflowTypes.pointInTimeRestore, workflowId, input: complete, summary, attributes });
      return restoreHandle(client, workflowId);
    },
    startBackup: async ({ cluster, kind }) => {
      const workflowId = backupWorkflowId(assertClusterName(cluster));
      assertBackupKind(kind);
      await start({
        type: workflowTypes.baseBackup,
        workflowId,
        input: kind === undefined ? { cluster } : { cluster, kind },
        summary: `Base backup of ${cluster}`,
        attributes: { operation: 'base-backup', cluster },
      });
      return operationHandle<BackupProgress, BaseBackupReport>(client, workflowId);
    },
    startEnable: async (request) => {
      const workflowId = enableWorkflowId(assertClusterName(request.cluster));
      const { cluster } = request;
      await start({
        type: workflowTypes.enableArchiving,
        workflowId,
        input: request,
        summary: `Enable archiving of ${cluster}`,
        attributes: { operation: 'enable', cluster },
      });
      return operationHandle<EnableProgress, EnableArchivingReport>(client, workflowId);
    },
    createRestorePoint: async (request) => {
      const input = { cluster: assertClusterName(request.cluster), name: checkedRestorePointName(request.name) };
      const workflowId = restorePointWorkflowId(input.cluster, input.name);
      const summary = `Restore point ${input.name} of ${input.cluster}`;
      const attributes = { operation: 'restore-point', cluster: input.cluster } as const;
      await start({ type: workflowTypes.restorePoint, workflowId, input, summary, attributes });
      return await operationHandle<never, RestorePoint>(client, workflowId).result();
    },
    ...createArchiveOperations({ client, taskQueue, start }),
    ...createFamilyOperations({ client, taskQueue, start }),
    getRestore: (id) => restoreHandle(client, id),
    getBackup: (id) => operationHandle<BackupProgress, BaseBackupReport>(client, id),
    hasWorker: () => asked(taskQueue, () => isPolled(client, taskQueue, 'workflow')),
    schedules: createBackupSchedules(client, taskQueue),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function assertAgentAnswers(client: Client, host: string): Promise<void> {
  const queue = hostTaskQueue(host);
  if (await asked(queue, () => isPolled(client, queue, 'activity'))) return;
  throw new WalkbackError('NO_AGENT_ON_HOST', `No walkback agent answers on host "${host}".`, { facts: { host, taskQueue: queue } });
}

async function asked(subject: string, call: () => Promise<boolean>): Promise<boolean> {
  try {
    return await call();
  } catch (error) {
    throw clientError(error, subject);
  }
}

function assertBackupKind(kind: BaseBackupRequest['kind']): void {
  if (kind === undefined || kind === 'full' || kind === 'incremental') return;
  throw new WalkbackError('INVALID_REQUEST', `"${String(kind)}" is no kind of base backup: it is full or incremental.`);
}

function dateOf(instant: Instant): Date {
  return new Date(Number(microsecondsOf(instant) / 1000n));
}
