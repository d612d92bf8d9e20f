/** Activities of a base backup, on the host of the source. */
import { join } from 'node:path';
import { completeBaseBackup } from '../archive/base-backup-completion.ts';
import { assertWritable } from '../archive/encryption.ts';
import { UnfinishedBackups } from '../archive/unfinished-backups.ts';
import { type BaseBackup, majorOf } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { parseWalSegmentName, walSegmentName, type WalSegmentName } from '../domain/wal-segment.ts';
import { connectServer } from '../postgres/connection.ts';
import { readServerFacts } from '../postgres/server-facts.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import type { HostDependencies } from './dependencies.ts';
import { mayGoOn } from './held-backups.ts';
import { RunningBackup } from './running-backup.ts';
import type { BackupJob, CopiedBaseBackup, HostActivities } from './types.ts';
import { awaitSegmentsArchived } from './wal-arrival.ts';

const supportedMajors = { first: 14, last: 18 } as const;
/** One wait for the last segments; the activity is retried, so that the whole wait is bounded by its options. */
const archivedTimeoutMs = 10 * 60_000;
/** More segments than a backup can span within the activity's time. */
const segmentsMaximum = 1_000_000n;

/** Makes the part of the host activities that is about base backups. */
export function createBackupActivities(
  dependencies: HostDependencies,
): Pick<HostActivities, 'checkBackupSource' | 'copyBaseBackup' | 'releaseBackupSession' | 'awaitWalArchived' | 'completeBaseBackup'> {
  return {
    checkBackupSource: (job) => runActivity(() => checkBackupSource(dependencies, job)),
    copyBaseBackup: (job) => runActivity((step) => copyBaseBackup(dependencies, job, step)),
    releaseBackupSession: (job) => runActivity((step) => releaseBackupSession(dependencies, job, step)),
    awaitWalArchived: ({ job, copied }) =>
      runActivity(async (step) => {
        const store = dependencies.openStore(job.archiveUrl);
        await awaitSegmentsArchived(store, segmentsOf(copied), {
          timeoutMs: archivedTimeoutMs,
          signal: step.signal,
          segmentBytes: copied.walSegmentBytes,
        });
        return null;
      }),
    completeBaseBackup: ({ job, copied }) => runActivity((step) => complete(dependencies, job, copied, step.signal)),
  };
}

async function checkBackupSource(dependencies: HostDependencies, job: BackupJob): Promise<{ pgVersion: number; systemIdentifier: string }> {
  assertWritable(dependencies.cipher);
  await using connection = await connectServer(dependencies.clusterOf(job.cluster).server);
  const facts = await readServerFacts(connection);
  const major = majorOf(facts.serverVersionNum);
  if (major < supportedMajors.first || major > supportedMajors.last) {
    throw new WalkbackError(
      'POSTGRES_NOT_FOUND',
      `${job.cluster} runs PostgreSQL ${major}; supported are ${supportedMajors.first} to ${supportedMajors.last}.`,
      { hint: 'Upgrade the cluster, or back it up with other means.' },
    );
  }
  if (facts.archiveMode === 'off' || facts.archiveCommand === '') {
    throw new WalkbackError(
      'ARCHIVING_NOT_ENABLED',
      `${job.cluster} does not archive its WAL, and a base backup without it cannot be restored.`,
      { hint: `Run \`walkback enable ${job.cluster}\`.` },
    );
  }
  return { pgVersion: facts.serverVersionNum, systemIdentifier: facts.systemIdentifier };
}

/** A failure of the store, or an attempt that timed out, leaves the backup running: the next attempt goes on with what is not stored yet. */
async function copyBaseBackup(dependencies: HostDependencies, job: BackupJob, step: ActivityStep): Promise<CopiedBaseBackup> {
  const { leases, heldBackups } = dependencies;
  return await leases.run(dependencies.clusterOf(job.cluster).dataDirectory, step, async (signal) => {
    const held = await heldBackups.take(job.cluster, step.activityKey);
    const backup = held ?? (await RunningBackup.start(dependencies, job, unfinishedOf(dependencies, job), signal));
    try {
      const copied = await backup.run({ signal, report: (progress) => step.report(progress) });
      await backup[Symbol.asyncDispose]();
      return copied;
    } catch (error) {
      if (mayGoOn(error, signal)) heldBackups.hold(job.cluster, step.activityKey, backup);
      else await backup[Symbol.asyncDispose]();
      throw error;
    }
  });
}

/** The lease ends an attempt that runs yet, which leaves its session to the next one; and an attempt that comes late does not get the lease. */
async function releaseBackupSession(
  { leases, heldBackups, clusterOf }: HostDependencies,
  job: BackupJob,
  step: ActivityStep,
): Promise<null> {
  await leases.run(clusterOf(job.cluster).dataDirectory, step, () => heldBackups.release(job.cluster));
  return null;
}

async function complete(
  dependencies: HostDependencies,
  job: BackupJob,
  copied: CopiedBaseBackup,
  signal: AbortSignal,
): Promise<BaseBackup> {
  const backup = await completeBaseBackup(dependencies.openStore(job.archiveUrl), copied.uploaded, { signal });
  await unfinishedOf(dependencies, job).complete(backup.name);
  return backup;
}

function unfinishedOf({ stateDirectory }: HostDependencies, { cluster }: BackupJob): UnfinishedBackups {
  return new UnfinishedBackups(join(stateDirectory, 'backups', `${cluster}.json`));
}

/** Every segment from the backup's start to its end: without one of them it cannot become consistent. */
function segmentsOf(copied: CopiedBaseBackup): WalSegmentName[] {
  const first = parseWalSegmentName(copied.uploaded.backup.startSegment, copied.walSegmentBytes);
  const last = parseWalSegmentName(copied.finishSegment, copied.walSegmentBytes);
  if (last.number - first.number > segmentsMaximum)
    throw new WalkbackError('BACKUP_FAILED', `The base backup spans more than ${segmentsMaximum} segments.`);
  const count = Number(last.number - first.number) + 1;
  return Array.from({ length: count }, (_, index) =>
    walSegmentName({ timeline: first.timeline, number: first.number + BigInt(index) }, copied.walSegmentBytes),
  );
}
