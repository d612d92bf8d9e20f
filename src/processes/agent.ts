/**
 * `walkback agent`: the WAL service, and the activities that touch data directories of this host. WAL is archived and fetched whether Temporal
 * answers or not.
 */
import { mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { HostCluster } from '../activities/dependencies.ts';
import { DirectoryLeases } from '../activities/directory-leases.ts';
import { HeldBackups } from '../activities/held-backups.ts';
import { createControlActivities } from '../activities/control-activities.ts';
import { createHostActivities } from '../activities/host-activities.ts';
import type { HostActivities } from '../activities/types.ts';
import { RestoredClusters } from '../agent/restored-clusters.ts';
import { startWalService, type WalService } from '../agent/wal-service.ts';
import type { ObjectCipher } from '../archive/encryption/cipher.ts';
import { createWalArchive } from '../archive/wal-archive.ts';
import { archiveUrlOf, type ClusterConfiguration, clusterOf, type Configuration } from '../config/configuration.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { RestoreRequest } from '../domain/restore-request.ts';
import { hostTaskQueue } from '../domain/task-queues.ts';
import { readControlData } from '../postgres/control-data.ts';
import { readFence } from '../postgres/fence.ts';
import type { DirectRestores } from './direct-restores.ts';
import type { ProcessLog } from './log.ts';
import { controlArchives } from './archives.ts';
import { openCipher } from './cipher.ts';
import { OpenStores } from './stores.ts';
import { runTemporalWorker } from './temporal-worker.ts';
import type { RunProcessOptions } from './worker.ts';

/** A database host has other work to do: few steps at a time, each of them heavy. */
const activitiesMaximum = 8;
const mebibyte = 1024 * 1024;

/** Runs until the signal. @throws WalkbackError RUNNING_AS_ROOT, INVALID_CONFIGURATION, ALREADY_RUNNING */
export async function runAgent({ loaded, log, signal, onReady }: RunProcessOptions): Promise<void> {
  assertNotRoot();
  const { configuration, secrets } = loaded;
  const { host } = configuration;
  if (host.id === undefined)
    throw new WalkbackError('INVALID_CONFIGURATION', 'The agent needs host.id: the stable name of this machine.', {
      hint: 'Set host.id in walkback.yaml or WALKBACK_HOST_ID.',
    });
  const cipher = await openCipher(loaded);
  await using stores = new OpenStores(configuration, secrets);
  await makePrivateDirectories(configuration);
  const restoredClusters = await RestoredClusters.open(join(host.stateDirectory, 'restored'), log);
  await using walService = await startWalService({
    socketPath: host.socket,
    stateDirectory: host.stateDirectory,
    openArchive: ({ archiveUrl, segmentBytes }) => {
      const archive = createWalArchive(stores.open(archiveUrl), { compression: configuration.storage.compression, cipher, segmentBytes });
      return { push: (file) => archive.push(file), fetch: (file) => archive.fetch(file) };
    },
    log,
    archivingThresholds: {
      backlogCount: host.walBacklogWarnSegments,
      oldestAgeMs: host.walBacklogWarnAgeSeconds * 1000,
      freeBytes: host.pgWalFreeWarnMib * mebibyte,
    },
    fetchPatience: { totalMs: host.walFetchPatienceSeconds * 1000 },
  });
  await registerClusters(configuration, walService, log);
  await using heldBackups = new HeldBackups();
  const activities = createHostActivities({
    hostId: host.id,
    clusterOf: (name) => hostCluster(configuration, restoredClusters, name),
    openStore: (url) => stores.open(url),
    compression: configuration.storage.compression,
    cipher,
    partBytes: configuration.storage.tarPartitionMib * mebibyte,
    uploadConcurrency: configuration.storage.uploadConcurrency,
    downloadConcurrency: configuration.storage.downloadConcurrency,
    manifestChecksum: configuration.backup.manifestChecksum,
    maximumIncrementalChain: configuration.backup.maxIncrementalChain,
    heldBackups,
    onDamagedPages: configuration.backup.onDamagedPages,
    walService,
    restoredClusters,
    leases: new DirectoryLeases(),
    socketPath: host.socket,
    stateDirectory: host.stateDirectory,
    runDirectory: host.runDirectory,
    installations: { explicit: host.postgresBinDirectories },
    listenAddresses: host.listenAddresses,
    diskMarginBytes: host.freeDiskMarginMib * mebibyte,
    operatingSystemUser: userInfo().username,
  });
  await using direct = await openDirectRestores({ configuration, hostId: host.id, host: activities, stores, cipher, log, signal });
  walService.serveRestores({
    follow: (request, asker) => direct.follow(request as unknown as RestoreRequest, asker),
    state: (restoreId) => direct.state(restoreId),
    decide: ({ restoreId, kind, input }) => direct.decide(restoreId, kind, input),
    cancel: (restoreId) => direct.cancel(restoreId),
    plan: async (request) => ({ ...(await direct.plan(request as unknown as RestoreRequest)) }),
  });
  log.info({ socket: host.socket, clusters: configuration.clusters.map((cluster) => cluster.name) }, 'The WAL service answers.');
  await runTemporalWorker({
    temporal: configuration.temporal.profile === undefined ? {} : { profile: configuration.temporal.profile },
    worker: { taskQueue: hostTaskQueue(host.id), activities: { ...activities }, maxConcurrentActivityTaskExecutions: activitiesMaximum },
    log,
    signal,
    onReady,
  });
}

/** The day Temporal's own database has to be restored, this agent does it by itself. */
async function openDirectRestores(parts: {
  readonly configuration: Configuration;
  readonly hostId: string;
  readonly host: HostActivities;
  readonly stores: OpenStores;
  readonly cipher: ObjectCipher | undefined;
  readonly log: ProcessLog;
  readonly signal: AbortSignal;
}): Promise<DirectRestores> {
  const { configuration, hostId, host, stores, cipher, log, signal } = parts;
  const { DirectRestores } = await import('./direct-restores.ts');
  // Only retention asks whether a workflow runs, and it is a worker's.
  const control = createControlActivities({ ...controlArchives(configuration, stores), isWorkflowRunning: async () => true, cipher });
  return new DirectRestores({ hostId, directory: join(configuration.host.stateDirectory, 'direct'), control, host, log, signal });
}

/** PostgreSQL refuses to run as root, and files written by root could not be read by it. */
function assertNotRoot(): void {
  if (process.getuid?.() !== 0) return;
  throw new WalkbackError('RUNNING_AS_ROOT', 'The agent was started as root, and must not be.', {
    hint: 'Start it as the user that owns the data directory, for example: setpriv --reuid=postgres --regid=postgres --init-groups walkback agent',
  });
}

async function makePrivateDirectories({ host }: Configuration): Promise<void> {
  for (const directory of [host.stateDirectory, host.runDirectory]) {
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new WalkbackError('INVALID_CONFIGURATION', `The agent cannot make its directory ${directory}: ${messageOf(cause)}.`, {
        hint: 'Make it, owned by the user of the agent, or set host.state_directory.',
        cause,
      });
    }
  }
}

/** A cluster whose directory cannot be read now is left out, and said so: the others must be archived. */
async function registerClusters(configuration: Configuration, walService: WalService, log: ProcessLog): Promise<void> {
  for (const cluster of configuration.clusters) {
    if ((cluster.host ?? configuration.host.id) !== configuration.host.id) continue;
    try {
      const fence = await readFence(cluster.dataDirectory);
      if (fence !== undefined) {
        log.info(fence, 'This cluster is not served: it is retired. `walkback undo` brings it back.');
        continue;
      }
      const { systemIdentifier, walSegmentBytes } = await readControlData(cluster.dataDirectory);
      await walService.registerCluster({
        name: cluster.name,
        dataDirectory: cluster.dataDirectory,
        systemIdentifier,
        archiveUrl: archiveUrlOf(configuration, cluster.name),
        segmentBytes: walSegmentBytes,
      });
    } catch (error) {
      log.error(
        { cluster: cluster.name, dataDirectory: cluster.dataDirectory, reason: messageOf(error) },
        'This cluster is not served: its data directory cannot be read. Correct it and restart the agent.',
      );
    }
  }
}

function hostCluster(configuration: Configuration, restored: RestoredClusters, name: string): HostCluster {
  const own = restored.find(name);
  if (own === undefined) return configuredCluster(clusterOf(configuration, name));
  const { dataDirectory, socketDirectory, port, adminRole, database } = own;
  return { name, dataDirectory, server: { host: socketDirectory, port, user: adminRole, database }, binDirectory: undefined };
}

function configuredCluster(cluster: ClusterConfiguration): HostCluster {
  const { name, dataDirectory, socketDirectory, address, port, user, database, binDirectory } = cluster;
  return { name, dataDirectory, server: { host: address ?? socketDirectory, port, user, database }, binDirectory };
}
