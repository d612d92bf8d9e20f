/** Schedules of base backups, kept by Temporal. */
import {
  type Client,
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleDescription,
  type ScheduleOptions,
} from '@temporalio/client';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { backupScheduleId } from '../domain/workflow-ids.ts';
import { operationAttributes } from '../temporal/search-attributes.ts';
import { workflowTypes } from '../workflows/contract.ts';

/** A schedule as it stands. */
export interface BackupSchedule {
  readonly cluster: string;
  readonly scheduleId: string;
  /** As it was set; undefined for one that was made by other means. */
  readonly cron: string | undefined;
  readonly paused: boolean;
  readonly note: string | undefined;
  /** RFC 3339, UTC. */
  readonly nextRun: string | undefined;
  readonly lastRun: string | undefined;
  /** Runs that Temporal left out since the schedule was made: one was running still, or the server was down for longer than the catch-up window. */
  readonly runsSkipped: number;
}

/** What to set. */
export interface BackupScheduleOptions {
  readonly cluster: string;
  /** Five fields, in UTC, for example `0 2 * * *`. */
  readonly cron: string;
}

/** The schedules' operations. Each throws WalkbackError NOT_FOUND for a cluster that has none. */
export interface BackupSchedules {
  /** Makes or replaces the schedule; a pause is kept. @throws WalkbackError INVALID_REQUEST for a cron that Temporal refuses */
  set(options: BackupScheduleOptions): Promise<BackupSchedule>;
  list(): Promise<readonly BackupSchedule[]>;
  pause(cluster: string, note: string): Promise<void>;
  resume(cluster: string): Promise<void>;
  /** Takes a backup now, unless one runs. */
  trigger(cluster: string): Promise<void>;
  delete(cluster: string): Promise<void>;
}

/** A missed run is made up for only when it is this fresh: a base backup of yesterday cannot be taken today. */
const catchupWindow = '1 hour';
/** Ends a run that hangs: under overlap SKIP it would silently end all backups. */
const runTimeout = '2 days';
const schedulesMaximum = 1000;

/** Makes the operations over a Temporal client. */
export function createBackupSchedules(client: Client, taskQueue: string): BackupSchedules {
  const handleOf = (cluster: string) => client.schedule.getHandle(backupScheduleId(cluster));
  return {
    set: (options) => translated(options.cluster, () => setSchedule(client, taskQueue, options)),
    list: () => listSchedules(client),
    pause: (cluster, note) => translated(cluster, () => handleOf(cluster).pause(note)),
    resume: (cluster) => translated(cluster, () => handleOf(cluster).unpause()),
    trigger: (cluster) => translated(cluster, () => handleOf(cluster).trigger(ScheduleOverlapPolicy.SKIP)),
    delete: (cluster) => translated(cluster, () => handleOf(cluster).delete()),
  };
}

async function setSchedule(client: Client, taskQueue: string, { cluster, cron }: BackupScheduleOptions): Promise<BackupSchedule> {
  const scheduleId = backupScheduleId(cluster);
  const wanted: ScheduleOptions = {
    scheduleId,
    spec: { cronExpressions: [cron] },
    action: {
      type: 'startWorkflow',
      workflowType: workflowTypes.scheduledBaseBackup,
      workflowId: `scheduled-backup/${cluster}`,
      taskQueue,
      args: [{ cluster, cron }],
      workflowExecutionTimeout: runTimeout,
      staticSummary: `Scheduled base backup of ${cluster}`,
      typedSearchAttributes: operationAttributes({ operation: 'base-backup', cluster }),
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow, pauseOnFailure: false },
    memo: { cluster },
    typedSearchAttributes: operationAttributes({ operation: 'base-backup', cluster }),
  };
  try {
    await client.schedule.create(wanted);
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    await client.schedule.getHandle(scheduleId).update((previous) => ({ ...wanted, state: previous.state }));
  }
  return backupScheduleOf(cluster, await client.schedule.getHandle(scheduleId).describe());
}

async function listSchedules(client: Client): Promise<readonly BackupSchedule[]> {
  const found: BackupSchedule[] = [];
  for await (const summary of client.schedule.list()) {
    if (!summary.scheduleId.startsWith(backupScheduleId(''))) continue;
    const cluster = summary.scheduleId.slice(backupScheduleId('').length);
    found.push(backupScheduleOf(cluster, await client.schedule.getHandle(summary.scheduleId).describe()));
    if (found.length >= schedulesMaximum) break;
  }
  return found.toSorted((a, b) => a.cluster.localeCompare(b.cluster));
}

function backupScheduleOf(cluster: string, description: ScheduleDescription): BackupSchedule {
  const { info, state } = description;
  return {
    cluster,
    scheduleId: description.scheduleId,
    cron: cronOf(description),
    paused: state.paused,
    note: state.note === '' ? undefined : state.note,
    nextRun: info.nextActionTimes[0]?.toISOString(),
    lastRun: info.recentActions.at(-1)?.takenAt.toISOString(),
    runsSkipped: info.numActionsSkippedOverlap + info.numActionsMissedCatchupWindow,
  };
}

/** The server keeps a cron compiled to calendars; the text as it was set travels in the action's input. */
function cronOf(description: ScheduleDescription): string | undefined {
  const [input] = description.action.args ?? [];
  return (input as { readonly cron?: string } | undefined)?.cron;
}

async function translated<T>(cluster: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ScheduleNotFoundError)
      throw new WalkbackError('NOT_FOUND', `The cluster "${cluster}" has no schedule of base backups.`, {
        hint: `Set one with \`walkback schedule set ${cluster} --cron "0 2 * * *"\`.`,
        cause: error,
      });
    if (/cron|schedule spec|INVALID_ARGUMENT/i.test(`${messageOf(error)} ${String((error as Error).cause)}`))
      throw new WalkbackError('INVALID_REQUEST', `Temporal refuses the schedule: ${messageOf((error as Error).cause ?? error)}.`, {
        cause: error,
      });
    throw error;
  }
}
