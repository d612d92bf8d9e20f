/** A base backup that runs on the server: its session, and how much of it is stored. It may outlive the attempt of the activity that began it. */
import { hostname } from 'node:os';
import { type BackupStart, BaseBackupUpload, incrementalBlockBytes } from '../archive/base-backup-push.ts';
import { readyPackingThreads } from '../archive/packing-threads.ts';
import { ChangedBlocks } from '../archive/push/changed-blocks.ts';
import { chooseParent, type IncrementalParent } from '../archive/push/parent-backup.ts';
import type { PushProgress } from '../archive/push/part-upload.ts';
import type { UnfinishedBackups } from '../archive/unfinished-backups.ts';
import { describeDamage, type PageDamage } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { SourceRecord } from '../domain/source-record.ts';
import { formatLsn, parseLsn } from '../domain/lsn.ts';
import { segmentNumberBefore, walSegmentName } from '../domain/wal-segment.ts';
import { type BackupSession, startBackupSession } from '../postgres/backup-session.ts';
import { readClusterBytes } from '../postgres/cluster-size.ts';
import { connectServer } from '../postgres/connection.ts';
import { readControlData } from '../postgres/control-data.ts';
import { nameDamagedRelations } from '../postgres/damaged-relations.ts';
import { readSourceRecord } from '../postgres/source-record.ts';
import { readWalSummaries } from '../postgres/wal-summaries.ts';
import type { HostCluster, HostDependencies } from './dependencies.ts';
import type { ActivityProgress, BackupJob, CopiedBaseBackup } from './types.ts';

/** What an attempt gives a running backup. */
interface BackupAttempt {
  readonly signal: AbortSignal;
  readonly report: (progress: ActivityProgress) => void;
}

export class RunningBackup implements AsyncDisposable {
  readonly #session: BackupSession;
  readonly #upload: BaseBackupUpload;
  readonly #fullBecause: string | null;

  private constructor(session: BackupSession, upload: BaseBackupUpload, fullBecause: string | null) {
    this.#session = session;
    this.#upload = upload;
    this.#fullBecause = fullBecause;
  }

  /**
   * Begins a backup on the server, and removes what earlier ones left in the archive.
   * @throws WalkbackError as startBackupSession, and what the store throws
   */
  static async start(
    dependencies: HostDependencies,
    job: BackupJob,
    unfinished: UnfinishedBackups,
    signal: AbortSignal,
  ): Promise<RunningBackup> {
    const cluster = dependencies.clusterOf(job.cluster);
    if (dependencies.compression === 'zstd') readyPackingThreads();
    const session = await beginSession(cluster, signal);
    try {
      const store = dependencies.openStore(job.archiveUrl);
      await unfinished.sweep(store, signal);
      const options = await uploadOptions(dependencies, { job, cluster, session, signal });
      await unfinished.begin(options.start.name);
      const { fullBecause, ...upload } = options;
      return new RunningBackup(session, new BaseBackupUpload({ ...upload, store }), fullBecause);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Stores what is not stored yet. After a failure that may pass it can be called again, as long as the session lives. */
  async run({ signal, report }: BackupAttempt): Promise<CopiedBaseBackup> {
    const uploaded = await this.#upload.run({ signal, onProgress: (progress) => report(progressOf(progress)) });
    const { facts, timeline } = this.#session;
    const finishNumber = segmentNumberBefore(parseLsn(uploaded.backup.finishLsn ?? uploaded.backup.startLsn), facts.walSegmentBytes);
    return {
      uploaded,
      finishSegment: walSegmentName({ timeline, number: finishNumber }, facts.walSegmentBytes),
      walSegmentBytes: facts.walSegmentBytes,
      fullBecause: this.#fullBecause,
    };
  }

  /** Does the server still know of the backup? */
  async isAlive(): Promise<boolean> {
    return this.#session.isAlive();
  }

  /** Ends the session; a backup that is not stopped is abandoned, and so is what is not complete in the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
    await this.#upload.abandon();
  }
}

/** The session belongs to no attempt: only while it begins does the attempt's signal end it. */
async function beginSession(cluster: HostCluster, signal: AbortSignal): Promise<BackupSession> {
  const beginning = new AbortController();
  const abort = (): void => beginning.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const options = { ...cluster.server, applicationName: 'walkback base backup', signal: beginning.signal };
    return await startBackupSession(options, { label: `walkback ${cluster.name}`, fast: true });
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

interface Beginning {
  readonly job: BackupJob;
  readonly cluster: HostCluster;
  readonly session: BackupSession;
  readonly signal: AbortSignal;
}

async function uploadOptions(dependencies: HostDependencies, { job, cluster, session, signal }: Beginning) {
  const control = await readControlData(cluster.dataDirectory);
  const start = startOf(session);
  const common = {
    dataDirectory: cluster.dataDirectory,
    compression: dependencies.compression,
    cipher: dependencies.cipher,
    partBytes: dependencies.partBytes,
    concurrency: dependencies.uploadConcurrency,
    pages: { blockBytes: control.blockBytes, segmentBlocks: control.segmentBlocks, hasChecksums: control.dataChecksumVersion !== 0 },
    manifestChecksum: dependencies.manifestChecksum,
    onDamage: dependencies.onDamagedPages,
    describeDamage: (damage: PageDamage, until: AbortSignal) => nameDamagedRelations({ ...cluster.server, signal: until }, damage),
    estimateBytes: (until: AbortSignal) => estimateBytes(cluster, until),
    describeSource: (until: AbortSignal) => sourceRecordOf(cluster, until),
    stop: () => session.stop(),
  };
  if (job.kind !== 'incremental') return { ...common, start, fullBecause: null };
  if (control.blockBytes !== incrementalBlockBytes)
    return { ...common, start, fullBecause: `the server's pages have ${control.blockBytes} bytes, which WAL-G's form does not know` };
  const maximumChain = dependencies.maximumIncrementalChain;
  const choice = await chooseParent(dependencies.openStore(job.archiveUrl), { start, maximumChain, signal, cipher: dependencies.cipher });
  if ('fullBecause' in choice) return { ...common, start, fullBecause: choice.fullBecause };
  const changed = await changedSince(choice.parent);
  return { ...common, start: { ...start, name: choice.name }, parent: choice.parent, ...changed, fullBecause: null };

  /** What the server's summaries say; nothing when they do not say it of all WAL since the parent began. */
  async function changedSince({ origin }: IncrementalParent): Promise<{ readonly changed?: ChangedBlocks }> {
    const changed = new ChangedBlocks();
    const range = { timeline: session.timeline, fromLsn: formatLsn(origin.startLsn), toLsn: session.startLsn };
    await using connection = await connectServer({ ...cluster.server, signal });
    const isComplete = await readWalSummaries(connection, range, (block) => changed.add(block));
    return isComplete && !changed.isTooLarge ? { changed } : {};
  }
}

async function estimateBytes({ server }: HostCluster, signal: AbortSignal): Promise<number> {
  await using connection = await connectServer({ ...server, signal });
  return await readClusterBytes(connection);
}

/** A backup is worth having without the record: then a restore checks its host against less. */
async function sourceRecordOf({ server }: HostCluster, signal: AbortSignal): Promise<SourceRecord | undefined> {
  try {
    return await readSourceRecord({ ...server, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof WalkbackError) return undefined;
    throw error;
  }
}

function startOf({ startSegment, timeline, startLsn, startTime, facts }: BackupSession): BackupStart {
  return {
    name: `base_${startSegment}`,
    timeline,
    startLsn,
    startTime,
    pgVersion: facts.serverVersionNum,
    systemIdentifier: facts.systemIdentifier,
    hostname: hostname(),
    walSegmentBytes: facts.walSegmentBytes,
  };
}

/** Damage is told as soon as it is found: a backup may take hours. */
function progressOf({ damage, ...progress }: PushProgress): ActivityProgress {
  return damage === undefined ? progress : { ...progress, note: describeDamage(damage) };
}
