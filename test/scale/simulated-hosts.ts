/** Hosts without PostgreSQL: their activities answer at once as a restore's would, so that many restores can run on one machine. */
import { runActivity } from '../../src/activities/activity.ts';
import type { Attempted, HostActivities, OpenedCluster, RestoreJob, RecoveryOutcome } from '../../src/activities/types.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { instantOf } from '../../src/domain/instant.ts';
import { emptyRecoverySummary } from '../../src/domain/recovery-events.ts';
import { lastSegmentOf } from '../../src/domain/recovery-plan.ts';
import type { WalSegmentName } from '../../src/domain/wal-segment.ts';

/** What the hosts know. */
export interface SimulatedHosts {
  /** Of the source, as far as it is archived. */
  readonly lastSegment: WalSegmentName;
  readonly endLsn: string;
  /** Recovery ends when so many restores are in it at the same time: then they have run side by side. */
  readonly together: number;
}

/** Simulated hosts, and how many restores are in recovery on them. */
export interface RunningHosts {
  readonly activities: HostActivities;
  readonly inRecovery: () => number;
  /** Ends every recovery, however few there are. */
  readonly release: () => void;
}

/** The activities of all of them: they only differ by their task queue. */
export function simulateHosts({ lastSegment, endLsn, together }: SimulatedHosts): RunningHosts {
  const arrived = Promise.withResolvers<void>();
  const waiting = new Set<string>();
  const done = async () => once(null);
  // All of them by name: one that a restore comes to need is missed by the compiler, and not by a restore that waits for it.
  const activities: HostActivities = {
    checkHost: async () => once({ postgresVersion: '18.1', binDirectory: '/usr/bin', freeBytes: 1, neededBytes: 1 }),
    flushSource: async () => once({ how: 'flushed', at: instantOf(new Date()), lsn: endLsn, timeline: 1, segment: lastSegment }),
    createDataDirectory: done,
    fetchBaseBackup: async () => once({ bytes: 1, parts: 1, partsAlreadyFetched: 0 }),
    configureRecovery: done,
    startPostgres: done,
    awaitRecovery: ({ job }) =>
      // Sends heartbeats meanwhile, as every activity does that may take longer.
      runActivity(async () => {
        waiting.add(job.restoreId);
        if (waiting.size >= together) arrived.resolve();
        await arrived.promise;
        return promotedAt(job);
      }),
    swapRoles: async () => once({ roles: [], locked: [] }),
    takeInventory: async () => once({ findings: [], leftOut: 0 }),
    runChecks: async () => once([]),
    openToClients: async () => once<OpenedCluster>({ listenAddresses: '', socketDirectory: '/run', settingsNotCarriedOver: [] }),
    abandonRestore: async () => once({ kept: true }),
    releaseClaim: done,
    inspectHost: notSimulated,
    clearDataDirectory: notSimulated,
    stopSource: notSimulated,
    salvageSource: notSimulated,
    stopPostgres: notSimulated,
    promotePaused: notSimulated,
    checkBackupSource: notSimulated,
    copyBaseBackup: notSimulated,
    releaseBackupSession: notSimulated,
    awaitWalArchived: notSimulated,
    completeBaseBackup: notSimulated,
    createRestorePoint: notSimulated,
    configureArchiving: notSimulated,
    restartSource: notSimulated,
    proveArchiving: notSimulated,
    recordBaseline: notSimulated,
    retireSource: notSimulated,
    liftSourceFence: notSimulated,
    checkRetired: notSimulated,
    bringBackSource: notSimulated,
  };
  return { activities, inRecovery: () => waiting.size, release: () => arrived.resolve() };
}

async function notSimulated(): Promise<never> {
  throw new WalkbackError('INVALID_REQUEST', 'A simulated host does nothing but restore.');
}

function promotedAt(job: RestoreJob): RecoveryOutcome {
  if (job.target.kind !== 'time') throw new WalkbackError('INVALID_REQUEST', 'Simulated hosts restore to a time.');
  const stop = { kind: 'before', record: 'commit', xid: '734', time: job.target.time } as const;
  const summary = { ...emptyRecoverySummary, stop, complete: true, ready: true, endLsn: job.plan.backup.finishLsn, segmentsRestored: 1 };
  return { kind: 'promoted', landing: { summary, timeline: 2, lastSegmentRestored: lastSegmentOf(job.plan.view), logLines: [] } };
}

function once<T>(value: T): Attempted<T> {
  return { value, attempts: 1 };
}
