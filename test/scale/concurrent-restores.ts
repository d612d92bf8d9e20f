/** Many restores at once: one dev server, one worker, hosts that are simulated, and everything that needs only the archive for real. */
import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeConnection, Worker } from '@temporalio/worker';
import { createControlActivities } from '../../src/activities/control-activities.ts';
import { createWalkbackClient } from '../../src/client/walkback-client.ts';
import type { RestoreHandle } from '../../src/client/handles.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import { controlTaskQueue, hostTaskQueue } from '../../src/domain/task-queues.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { SmallArchive, smallSegment } from '../archive/support/small-archive.ts';
import { withTemporalAt } from '../integration/cli/temporal.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type RunningHosts, simulateHosts } from './simulated-hosts.ts';

/** What was measured. */
export interface ScaleResult {
  readonly restores: number;
  readonly seconds: number;
  /** Of the restore that has most. */
  readonly historyEventsMaximum: number;
  readonly historyBytesMaximum: number;
}

/** A server to run on. */
export interface ScaleServer {
  readonly address: string;
  readonly namespace: string;
  /** A bundle, or the sources of the workflows. */
  readonly workflows: { readonly workflowBundle: { readonly codePath: string } } | { readonly workflowsPath: string };
}

/** Told how many are in recovery, and after how many seconds. */
type WaveListener = (inRecovery: number, seconds: number) => void;

const cluster = 'shop';
const firstPort = 20_000;
/** As a worker of ours is started (src/processes/worker.ts): fewer than run, so that some are always replayed. */
const cachedWorkflowsMaximum = 500;
/** Started at a time; the next ones once these are in recovery, where all wait for all. A step that a host does not take in 30 s counts as lost. */
const waveCount = 50;
const waveTimeoutMs = 5 * 60_000;

/** Starts so many restores and waits for all. @throws whatever one of them fails with */
export async function runConcurrentRestores(
  server: ScaleServer,
  restores: number,
  onWave: WaveListener = () => undefined,
): Promise<ScaleResult> {
  const directory = await mkdtemp(join(tmpdir(), 'walkback-scale-'));
  try {
    const archiveUrl = `file://${join(directory, cluster)}`;
    const archive = new SmallArchive(storeIn(join(directory, cluster)), directory);
    await archive.addWal([3, 4, 5], { closedAt: '2026-11-22T10:00:00Z' });
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:30Z' });
    return await withWorkers(server, { directory, archiveUrl, restores }, (hosts) => restoreAll(server, { restores, onWave }, hosts));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function withWorkers<T>(
  { address, namespace, workflows }: ScaleServer,
  place: { readonly directory: string; readonly archiveUrl: string; readonly restores: number },
  work: (hosts: RunningHosts) => Promise<T>,
): Promise<T> {
  const connection = await NativeConnection.connect({ address });
  try {
    const stores = new Map<string, ObjectStore>();
    const control = createControlActivities({
      locateCluster: (name) => ({
        cluster: name,
        host: 'host-0',
        port: 5432,
        archiveUrl: place.archiveUrl,
        adminRole: 'postgres',
        database: 'postgres',
      }),
      configuredClusters: () => [],
      archiveUrlForNewCluster: (_, name) => `file://${join(place.directory, 'restored', name)}`,
      openStore: (url) => {
        const store = stores.get(url) ?? storeIn(url.slice('file://'.length));
        stores.set(url, store);
        return store;
      },
      isWorkflowRunning: async () => true,
      cipher: undefined,
    });
    const hosts = simulateHosts({ lastSegment: smallSegment(5), endLsn: '0/600000', together: place.restores });
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: controlTaskQueue,
      activities: { ...control },
      maxCachedWorkflows: cachedWorkflowsMaximum,
      ...workflows,
    });
    const host = await Worker.create({
      connection,
      namespace,
      taskQueue: hostTaskQueue('host-0'),
      activities: { ...hosts.activities },
      maxConcurrentActivityTaskExecutions: place.restores + 1,
    });
    // Both end before the error is thrown: workers hold the connection.
    // When one has failed the others wait for it in recovery, and the workers for them.
    const worked = work(hosts).finally(() => hosts.release());
    const [outcome] = await Promise.all([Promise.allSettled([worked]).then(endOf(worker, host)), worker.run(), host.run()]);
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  } finally {
    await connection.close();
  }
}

function endOf<T>(...workers: readonly Worker[]): (outcomes: readonly [T]) => T {
  return ([outcome]) => {
    for (const worker of workers) worker.shutdown();
    return outcome;
  };
}

async function restoreAll(
  { address, namespace }: ScaleServer,
  { restores, onWave }: { readonly restores: number; readonly onWave: WaveListener },
  hosts: RunningHosts,
): Promise<ScaleResult> {
  await using client = await createWalkbackClient({ address, namespace });
  const startedMs = performance.now();
  const handles: RestoreHandle[] = [];
  for (let begun = 0; begun < restores; begun += waveCount) {
    const numbers = Array.from({ length: Math.min(waveCount, restores - begun) }, (_, index) => begun + index);
    handles.push(...(await Promise.all(numbers.map((number) => client.startRestore(requestOf(number), { requireAgent: false })))));
    await waitUntil(() => hosts.inRecovery() >= handles.length, { timeoutMs: waveTimeoutMs, description: 'the restores are in recovery' });
    onWave(handles.length, (performance.now() - startedMs) / 1000);
  }
  // One that fails would keep the others waiting for it: it is told at once.
  await Promise.all(handles.map((handle) => handle.result()));
  const seconds = (performance.now() - startedMs) / 1000;
  const sizes = await withTemporalAt({ address, namespace }, async (temporal) => {
    const found: { events: number; bytes: number }[] = [];
    for (const { workflowId } of handles) {
      const { historyLength, historySize } = await temporal.workflow.getHandle(workflowId).describe();
      found.push({ events: historyLength, bytes: historySize ?? 0 });
    }
    return found;
  });
  return {
    restores,
    seconds,
    historyEventsMaximum: Math.max(...sizes.map(({ events }) => events)),
    historyBytesMaximum: Math.max(...sizes.map(({ bytes }) => bytes)),
  };
}

/** The root of an archive is the operator's to make. */
function storeIn(directory: string): ObjectStore {
  mkdirSync(directory, { recursive: true });
  return createFileObjectStore({ directory });
}

function requestOf(number: number) {
  return {
    cluster,
    name: `restored-${number}`,
    host: 'host-0',
    target: { kind: 'time', time: parseInstant('2026-11-22T10:01:00Z') },
    dataDirectory: `/srv/restored-${number}`,
    port: firstPort + number,
    checks: [{ sql: 'SELECT 1', expected: '1' }],
  } as const;
}
