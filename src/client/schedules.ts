/** Schedules of base backups and of what looks after archives, kept by Temporal. */
import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleDescription,
  type ScheduleOptions,
} from '@temporalio/client';
import type { BackupKind } from '../domain/base-backup.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { assertRules, type RetentionRules } from '../domain/retention-policy.ts';
import { type ScheduledOperation, scheduledOperations, scheduledWorkflowId, scheduleIdOf } from '../domain/workflow-ids.ts';
import { type OperationAttributes, operationAttributes } from '../temporal/search-attributes.ts';
import { workflowTypes } from '../workflows/contract.ts';

/** A schedule as it stands. */
export interface BackupSchedule {
  readonly cluster: string;
  readonly operation: ScheduledOperation;
  readonly scheduleId: string;
  /** As it was set; undefined for one that was made by other means. */
  readonly cron: string | undefined;
  /** Of base backups. */
  readonly kind?: BackupKind;
  readonly paused: boolean;
  readonly note: string | undefined;
  /** RFC 3339, UTC. */
  readonly nextRun: string | undefined;
  readonly lastRun: string | undefined;
  /** Runs that Temporal left out since the schedule was made: one was running still, or the server was down for longer than the catch-up window. */
  readonly runsSkipped: number;
}

/** What a schedule does: `backup` takes a base backup, `verify` verifies the archive, `prune` removes what retention lets go, without asking. */
export type ScheduledAction =
  | { readonly operation: 'backup'; readonly kind?: BackupKind }
  | { readonly operation: 'verify'; readonly deep: boolean }
  | ({ readonly operation: 'prune'; readonly confirm: true } & RetentionRules);

/** What to set. */
export interface BackupScheduleOptions {
  readonly cluster: string;
  /** Default: a base backup. A cluster has at most one schedule of each operation. */
  readonly action?: ScheduledAction;
  /** Five fields, in UTC, for example `0 2 * * *`. */
  readonly cron: string;
}

/** The schedules' operations, by default on the schedule of base backups. Each throws WalkbackError NOT_FOUND for a cluster that has none. */
export interface BackupSchedules {
  /** Makes or replaces the schedule; a pause is kept. @throws WalkbackError INVALID_REQUEST for a cron that Temporal refuses */
  set(options: BackupScheduleOptions): Promise<BackupSchedule>;
  list(): Promise<readonly BackupSchedule[]>;
  pause(cluster: string, note: string, operation?: ScheduledOperation): Promise<void>;
  resume(cluster: string, operation?: ScheduledOperation): Promise<void>;
  /** Does it now, unless it runs. */
  trigger(cluster: string, operation?: ScheduledOperation): Promise<void>;
  delete(cluster: string, operation?: ScheduledOperation): Promise<void>;
}

/** A missed run is made up for only when it is this fresh: a base backup of yesterday cannot be taken today. */
const catchupWindow = '1 hour';
/** Ends a run that hangs: under overlap SKIP it would silently end all backups. */
const runTimeout = '2 days';
const schedulesMaximum = 1000;

/** Makes the operations over a Temporal client. */
export function createBackupSchedules(client: Client, taskQueue: string): BackupSchedules {
  const handleOf = (cluster: string, operation: ScheduledOperation) => client.schedule.getHandle(scheduleIdOf(operation, cluster));
  return {
    set: (options) =>
      translated({ cluster: options.cluster, operation: options.action?.operation ?? 'backup' }, () =>
        setSchedule(client, taskQueue, options),
      ),
    list: () => listSchedules(client),
    pause: (cluster, note, operation = 'backup') => translated({ cluster, operation }, () => handleOf(cluster, operation).pause(note)),
    resume: (cluster, operation = 'backup') => translated({ cluster, operation }, () => handleOf(cluster, operation).unpause()),
    trigger: (cluster, operation = 'backup') =>
      translated({ cluster, operation }, () => handleOf(cluster, operation).trigger(ScheduleOverlapPolicy.SKIP)),
    delete: (cluster, operation = 'backup') => translated({ cluster, operation }, () => handleOf(cluster, operation).delete()),
  };
}

/** What runs start, by operation. */
const runs: Readonly<
  Record<ScheduledOperation, { readonly type: string; readonly title: string; readonly attribute: OperationAttributes['operation'] }>
> = {
  backup: { type: workflowTypes.scheduledBaseBackup, title: 'base backup', attribute: 'base-backup' },
  verify: { type: workflowTypes.scheduledVerification, title: 'verification', attribute: 'verify' },
  prune: { type: workflowTypes.scheduledPrune, title: 'retention run', attribute: 'prune' },
};

async function setSchedule(client: Client, taskQueue: string, options: BackupScheduleOptions): Promise<BackupSchedule> {
  const { cluster, cron, action = { operation: 'backup' } } = options;
  const { operation, ...input } = action;
  if (action.operation === 'prune') assertRules(action);
  const { type, title, attribute } = runs[operation];
  const scheduleId = scheduleIdOf(operation, cluster);
  const wanted: ScheduleOptions = {
    scheduleId,
    spec: { cronExpressions: [cron] },
    action: {
      type: 'startWorkflow',
      workflowType: type,
      workflowId: scheduledWorkflowId(operation, cluster),
      taskQueue,
      args: [{ cluster, cron, ...input }],
      workflowExecutionTimeout: runTimeout,
      staticSummary: `Scheduled ${title} of ${cluster}`,
      typedSearchAttributes: operationAttributes({ operation: attribute, cluster }),
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow, pauseOnFailure: false },
    memo: { cluster },
    typedSearchAttributes: operationAttributes({ operation: attribute, cluster }),
  };
  try {
    await client.schedule.create(wanted);
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update((previous) => ({ ...wanted, state: previous.state }));
  }
  return scheduleOf({ cluster, operation }, await client.schedule.getHandle(scheduleId).describe());
}

async function listSchedules(client: Client): Promise<readonly BackupSchedule[]> {
  const found: BackupSchedule[] = [];
  for await (const summary of client.schedule.list()) {
    const operation = scheduledOperations.find((candidate) => summary.scheduleId.startsWith(scheduleIdOf(candidate, '')));
    if (operation === undefined) continue;
    const cluster = summary.scheduleId.slice(scheduleIdOf(operation, '').length);
    found.push(scheduleOf({ cluster, operation }, await client.schedule.getHandle(summary.scheduleId).describe()));
    if (found.length >= schedulesMaximum) break;
  }
  return found.toSorted((a, b) => a.cluster.localeCompare(b.cluster) || a.operation.localeCompare(b.operation));
}

/** Which schedule it is. */
type ScheduleIdentity = Pick<BackupSchedule, 'cluster' | 'operation'>;

function scheduleOf(identity: ScheduleIdentity, description: ScheduleDescription): BackupSchedule {
  const { info, state } = description;
  return {
    ...identity,
    scheduleId: description.scheduleId,
    ...inputOf(identity, description),
    paused: state.paused,
    note: state.note === '' ? undefined : state.note,
    nextRun: info.nextActionTimes[0]?.toISOString(),
    lastRun: info.recentActions.at(-1)?.takenAt.toISOString(),
    runsSkipped: info.numActionsSkippedOverlap + info.numActionsMissedCatchupWindow,
  };
}

/** The server keeps a cron compiled to calendars; the text as it was set travels in the action's input. */
function inputOf({ operation }: ScheduleIdentity, description: ScheduleDescription): Pick<BackupSchedule, 'cron' | 'kind'> {
  const [input] = description.action.args ?? [];
  const { cron, kind = 'full' } = (input ?? {}) as { readonly cron?: string; readonly kind?: BackupKind };
  return { cron, ...(operation === 'backup' ? { kind } : {}) };
}

async function translated<T>({ cluster, operation }: ScheduleIdentity, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError)
      throw new WalkbackError('NOT_FOUND', `The cluster "${cluster}" has no schedule of ${runs[operation].title}s.`, {
        hint: `Set one with \`walkback schedule set ${cluster}${operation === 'backup' ? '' : ` --${operation}`} --cron "0 2 * * *"\`.`,
        cause: error,
      });
    if (/cron|schedule spec|INVALID_ARGUMENT/i.test(`${messageOf(error)} ${String((error as Error).cause)}`))
      throw new WalkbackError('INVALID_REQUEST', `Temporal refuses the schedule: ${messageOf((error as Error).cause ?? error)}.`, {
        cause: error,
      });
    throw error;
  }
}
