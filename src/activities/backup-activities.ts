/** Activities of a base backup, on the host of the source. */
import { hostname } from 'node:os';
import { completeBaseBackup } from '../archive/base-backup-completion.ts';
import { uploadBaseBackup } from '../archive/base-backup-push.ts';
import { assertWritable } from '../archive/encryption.ts';
import type { PushProgress } from '../archive/push/part-upload.ts';
import { describeDamage, majorOf } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { parseLsn } from '../domain/lsn.ts';
import { parseWalSegmentName, segmentNumberBefore, walSegmentName, type WalSegmentName } from '../domain/wal-segment.ts';
import { startBackupSession } from '../postgres/backup-session.ts';
import { connectServer } from '../postgres/connection.ts';
import { readControlData } from '../postgres/control-data.ts';
import { readServerFacts } from '../postgres/server-facts.ts';
import { type ActivityStep, runActivity } from './activity.ts';
import type { HostDependencies } from './dependencies.ts';
import type { ActivityProgress, BackupJob, CopiedBaseBackup, HostActivities } from './types.ts';
import { awaitSegmentsArchived } from './wal-arrival.ts';

const supportedMajors = { first: 14, last: 18 } as const;
/** One wait for the last segments; the activity is retried, so that the whole wait is bounded by its options. */
const archivedTimeoutMs = 10 * 60_000;
/** More segments than a backup can span within the activity's time. */
const segmentsMaximum = 1_000_000n;

/** Makes the part of the host activities that is about base backups. */
export function createBackupActivities(
  dependencies: HostDependencies,
): Pick<HostActivities, 'checkBackupSource' | 'copyBaseBackup' | 'awaitWalArchived' | 'completeBaseBackup'> {
  return {
    checkBackupSource: (job) => runActivity(() => checkBackupSource(dependencies, job)),
    copyBaseBackup: (job) => runActivity((step) => copyBaseBackup(dependencies, job, step)),
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
    completeBaseBackup: ({ job, copied }) =>
      runActivity((step) => completeBaseBackup(dependencies.openStore(job.archiveUrl), copied.uploaded, { signal: step.signal })),
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

async function copyBaseBackup(dependencies: HostDependencies, job: BackupJob, step: ActivityStep): Promise<CopiedBaseBackup> {
  const cluster = dependencies.clusterOf(job.cluster);
  return await dependencies.leases.run(cluster.dataDirectory, step, async (signal) => {
    await using session = await startBackupSession(
      { ...cluster.server, applicationName: 'walkback base backup', signal },
      { label: `walkback ${job.cluster}`, fast: true },
    );
    const { facts } = session;
    const control = await readControlData(cluster.dataDirectory);
    const uploaded = await uploadBaseBackup({
      store: dependencies.openStore(job.archiveUrl),
      dataDirectory: cluster.dataDirectory,
      compression: dependencies.compression,
      cipher: dependencies.cipher,
      partBytes: dependencies.partBytes,
      concurrency: dependencies.uploadConcurrency,
      pages: { blockBytes: control.blockBytes, segmentBlocks: control.segmentBlocks, hasChecksums: control.dataChecksumVersion !== 0 },
      manifestChecksum: dependencies.manifestChecksum,
      onDamage: dependencies.onDamagedPages,
      start: {
        name: `base_${session.startSegment}`,
        timeline: session.timeline,
        startLsn: session.startLsn,
        startTime: session.startTime,
        pgVersion: facts.serverVersionNum,
        systemIdentifier: facts.systemIdentifier,
        hostname: hostname(),
        walSegmentBytes: facts.walSegmentBytes,
      },
      stop: () => session.stop(),
      signal,
      onProgress: (progress) => step.report(progressOf(progress)),
    });
    const finishNumber = segmentNumberBefore(parseLsn(uploaded.backup.finishLsn ?? uploaded.backup.startLsn), facts.walSegmentBytes);
    return {
      uploaded,
      finishSegment: walSegmentName({ timeline: session.timeline, number: finishNumber }, facts.walSegmentBytes),
      walSegmentBytes: facts.walSegmentBytes,
    };
  });
}

/** Damage is told as soon as it is found: a backup may take hours. */
function progressOf({ damage, ...progress }: PushProgress): ActivityProgress {
  return damage === undefined ? progress : { ...progress, note: describeDamage(damage) };
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
