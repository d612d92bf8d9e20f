/**
 * Every timeout and retry of every activity, in one table. `startToClose` bounds one attempt; `heartbeat` finds a dead worker and carries
 * cancellation; `scheduleToStart` on a host's queue answers "is anyone there?" and is never retried by the server.
 */
import { type ActivityOptions, patched, proxyActivities } from '@temporalio/workflow';
import type { ControlActivities, HostActivities } from '../activities/types.ts';

/** How a step is tried again; times in milliseconds. */
export interface StepRetry {
  readonly initialInterval: number;
  readonly backoffCoefficient: number;
  readonly maximumInterval: number;
  readonly maximumAttempts: number;
}

/** Tries again for as long as the error is one that may pass; the catalogue in domain/errors.ts says which those are. */
const patientRetry: StepRetry = {
  initialInterval: 1000,
  backoffCoefficient: 2,
  maximumInterval: 30_000,
  maximumAttempts: 100,
};
const briefRetry: StepRetry = {
  initialInterval: 500,
  backoffCoefficient: 2,
  maximumInterval: 5000,
  maximumAttempts: 5,
};
/** A minute in which the store does not answer must not cost a restore before it has begun. */
const planRetry: StepRetry = { ...briefRetry, maximumInterval: 10_000, maximumAttempts: 10 };

/** How long a host may take to pick a step up before it counts as not there. */
const hostAnswersWithin = '30 seconds';
/** A step that was picked up once may wait this long for its host to come back, so that a restarted agent continues it. */
const hostReturnsWithin = '10 minutes';

const short: ActivityOptions = { startToCloseTimeout: '1 minute', retry: briefRetry };
const onHost: ActivityOptions = {
  startToCloseTimeout: '2 minutes',
  scheduleToStartTimeout: hostReturnsWithin,
  heartbeatTimeout: '15 seconds',
  retry: patientRetry,
};
const firstOnHost: ActivityOptions = { ...onHost, scheduleToStartTimeout: hostAnswersWithin, retry: briefRetry };
/** Nothing waits for ever when the host is gone: what is to be ended there has ended with its agent. */
const endOnHost: ActivityOptions = {
  ...onHost,
  scheduleToStartTimeout: '15 seconds',
  scheduleToCloseTimeout: '2 minutes',
  retry: briefRetry,
};
const longOnHost: ActivityOptions = { ...onHost, startToCloseTimeout: '7 days' };

const control = {
  planRestore: { startToCloseTimeout: '10 minutes', heartbeatTimeout: '30 seconds', retry: planRetry },
  outlineRestore: { startToCloseTimeout: '10 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  locateCluster: short,
  listBaseBackups: { startToCloseTimeout: '10 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  verifyArchive: { startToCloseTimeout: '7 days', heartbeatTimeout: '15 seconds', retry: patientRetry },
  readArchiveWindow: { startToCloseTimeout: '10 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  pruneArchive: { startToCloseTimeout: '2 days', heartbeatTimeout: '15 seconds', retry: patientRetry },
  markBackup: { startToCloseTimeout: '10 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  readLandingReport: { startToCloseTimeout: '5 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  planUndo: { startToCloseTimeout: '5 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  readLineage: { startToCloseTimeout: '5 minutes', heartbeatTimeout: '30 seconds', retry: briefRetry },
  storeLandingReport: { startToCloseTimeout: '1 minute', retry: { ...patientRetry, maximumAttempts: 10 } },
} satisfies Record<keyof ControlActivities, ActivityOptions>;

const host = {
  inspectHost: firstOnHost,
  checkHost: firstOnHost,
  releaseClaim: firstOnHost,
  flushSource: { ...firstOnHost, startToCloseTimeout: '10 minutes' },
  stopSource: { ...firstOnHost, startToCloseTimeout: '30 minutes' },
  salvageSource: { ...firstOnHost, startToCloseTimeout: '12 hours' },
  retireSource: onHost,
  liftSourceFence: onHost,
  checkRetired: firstOnHost,
  bringBackSource: { ...firstOnHost, startToCloseTimeout: '30 minutes' },
  createDataDirectory: onHost,
  clearDataDirectory: { ...onHost, startToCloseTimeout: '6 hours' },
  fetchBaseBackup: longOnHost,
  configureRecovery: onHost,
  startPostgres: { ...onHost, startToCloseTimeout: '30 minutes' },
  awaitRecovery: longOnHost,
  stopPostgres: { ...onHost, startToCloseTimeout: '10 minutes' },
  promotePaused: onHost,
  swapRoles: onHost,
  takeInventory: { ...onHost, startToCloseTimeout: '30 minutes' },
  runChecks: { ...onHost, startToCloseTimeout: '1 day' },
  recordBaseline: { ...firstOnHost, startToCloseTimeout: '1 day' },
  openToClients: { ...onHost, startToCloseTimeout: '30 minutes' },
  abandonRestore: { ...onHost, startToCloseTimeout: '30 minutes' },
  checkBackupSource: firstOnHost,
  copyBaseBackup: longOnHost,
  releaseBackupSession: endOnHost,
  awaitWalArchived: { ...longOnHost, startToCloseTimeout: '12 hours' },
  completeBaseBackup: onHost,
  createRestorePoint: { ...firstOnHost, startToCloseTimeout: '10 minutes' },
  configureArchiving: firstOnHost,
  restartSource: { ...onHost, startToCloseTimeout: '30 minutes' },
  proveArchiving: { ...onHost, startToCloseTimeout: '10 minutes' },
} satisfies Record<keyof HostActivities, ActivityOptions>;

/**
 * What is not over before it has ended: somebody who cancels it is told so when nothing is removed or changed any more. Temporal's default, which is
 * TRY_CANCEL whatever its documentation says, ends the workflow while the activity has not heard of it. The steps of a backup and of a restore have
 * workflows that see to the rest.
 */
const endedWhenCancelled: ReadonlySet<string> = new Set<keyof ControlActivities | keyof HostActivities>([
  'verifyArchive',
  'pruneArchive',
  'configureArchiving',
  'restartSource',
  'proveArchiving',
]);
/** Workflows that were cancelled before they knew it have ended at once, and are replayed so. */
const endedWhenCancelledPatch = 'ended-when-cancelled';

/** How an activity is tried again, whoever runs it. */
export function retryOf(activity: keyof ControlActivities | keyof HostActivities): StepRetry {
  const table: Readonly<Record<string, { readonly retry?: unknown }>> = { ...control, ...host };
  return table[activity]?.retry as StepRetry;
}

/** An activity, called with a summary that the Temporal UI shows on its row. */
export type Summarized<T> = {
  readonly [K in keyof T]: T[K] extends (input: infer I) => infer R ? (summary: string, input: I) => R : never;
};

/** The activities that need only the archive. */
export function controlActivities(): Summarized<ControlActivities> {
  return proxies<ControlActivities>(control, undefined);
}

/** The activities of one host. */
export function hostActivities(
  taskQueue: string,
  options: { /** Instead of ten. */ readonly hostReturnsWithinMinutes?: number } = {},
): Summarized<HostActivities> {
  const { hostReturnsWithinMinutes } = options;
  return proxies<HostActivities>(hostReturnsWithinMinutes === undefined ? host : withReturn(hostReturnsWithinMinutes), taskQueue);
}

/** Only steps that wait for a host's return wait longer or shorter. */
function withReturn(minutes: number): Readonly<Record<keyof HostActivities, ActivityOptions>> {
  const changed = Object.entries(host).map(([name, options]) => [
    name,
    options.scheduleToStartTimeout === hostReturnsWithin ? { ...options, scheduleToStartTimeout: minutes * 60_000 } : options,
  ]);
  return Object.fromEntries(changed) as Readonly<Record<keyof HostActivities, ActivityOptions>>;
}

function proxies<T extends object>(table: Readonly<Record<keyof T, ActivityOptions>>, taskQueue: string | undefined): Summarized<T> {
  const queue = taskQueue === undefined ? {} : { taskQueue };
  const call = (name: keyof T) => (summary: string, input: unknown) => {
    const proxy = proxyActivities<Record<string, (input: unknown) => Promise<unknown>>>({
      ...table[name],
      ...queue,
      ...(endedWhenCancelled.has(String(name)) && patched(endedWhenCancelledPatch)
        ? { cancellationType: 'WAIT_CANCELLATION_COMPLETED' as const }
        : {}),
      summary: summary.slice(0, summaryMaximumLength),
    });
    return proxy[String(name)]?.(input);
  };
  return Object.fromEntries((Object.keys(table) as (keyof T)[]).map((name) => [name, call(name)])) as Summarized<T>;
}

/** The server takes 400 bytes of payload. */
const summaryMaximumLength = 200;
