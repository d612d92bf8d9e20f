/**
 * Records the histories that test/replay replays: `node scripts/run.mjs node test/replay/record.ts DIRECTORY`. A recorded history stands for
 * workflows that run somewhere: once released, it is kept as it is, and a changed workflow gets `patched` and a history of its own.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { Client, Connection } from '@temporalio/client';
import type { OperationHandle } from '../../src/client/handles.ts';
import { demoCluster, demoHost, type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { tellDemoStory } from '../../src/demo/demo-story.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { tarPartitionsPrefix } from '../../src/archive/layout.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { StoreTroubles } from '../integration/faults/store-troubles.ts';
import { listKeys, openArchive, remove } from '../integration/faults/stored-objects.ts';

/** Stack traces name the checkout; a committed history must not. */
const packageRoot = fileURLToPath(new URL('../../', import.meta.url));
const [directory] = process.argv.slice(2);
if (directory === undefined) throw new TypeError('usage: record.ts DIRECTORY');

await using site = await startDemoSite({ withUi: false });
const connection = await Connection.connect({ address: site.temporal.address });
const client = new Client({ connection });

await record('base-backup.failed', await site.client.startBackup({ cluster: demoCluster }));
const story = await tellDemoStory(site, (_line, step) => step());
const [reached, endedEarly] = story.reports;
if (reached === undefined || endedEarly === undefined) throw new Error('the story has two restores');
await save('point-in-time-restore.target-reached', reached.workflowId);
await save('point-in-time-restore.ended-early', endedEarly.workflowId);
await save('base-backup.completed', `backup/${demoCluster}`);
await save('enable-archiving.completed', `enable/${demoCluster}`);
await record(
  'point-in-time-restore.check-failed',
  await site.client.startRestore(await request(site, { name: 'failed', checks: [{ sql: 'SELECT 1', expected: '2' }] })),
);
await recordPaused('point-in-time-restore.cancelled', 'cancelled', (handle) => handle.cancel());
await recordPaused('point-in-time-restore.paused-and-promoted', 'promoted', (handle) => handle.promote());
await recordCancelledBackup();
await recordCancelledWhile('PutObject', '/tar_partitions/', {
  name: 'base-backup.cancelled-while-copying',
  start: () => site.client.startBackup({ cluster: demoCluster }),
});
await recordScheduled();
await recordFamily();
await recordOlderBackup();
await recordArchiveCare();
await recordSalvaged();
await connection.close();

/** Waits for the end, whatever it is, and saves the history. */
async function record(name: string, handle: OperationHandle<unknown, unknown>): Promise<void> {
  await handle.result().catch(() => undefined);
  await save(name, handle.workflowId);
}

async function save(name: string, workflowId: string): Promise<void> {
  const history = await client.workflow.getHandle(workflowId).fetchHistory();
  await mkdir(directory ?? '', { recursive: true });
  await writeFile(join(directory ?? '', `${name}.json`), `${historyToJSON(history).replaceAll(packageRoot, '/')}\n`);
  process.stderr.write(`${name}\n`);
}

async function recordPaused(
  name: string,
  cluster: string,
  decide: (handle: Awaited<ReturnType<typeof site.client.startRestore>>) => Promise<unknown>,
): Promise<void> {
  const handle = await site.client.startRestore(await request(site, { name: cluster, atTarget: 'pause' }));
  await waitUntil(async () => (await handle.progress()).phase === 'paused-at-target', { timeoutMs: 60_000, description: 'the pause' });
  await decide(handle);
  await record(name, handle);
}

/** The agent is stopped, so that the backup waits for a host and can be cancelled for certain. */
async function recordCancelledBackup(): Promise<void> {
  await site.agent.stop();
  const handle = await site.client.startBackup({ cluster: demoCluster });
  await waitUntil(async () => (await handle.progress()).phase === 'check-source', {
    timeoutMs: 60_000,
    description: 'the backup to wait for its host',
  });
  await handle.cancel();
  await record('base-backup.cancelled', handle);
  await site.start('agent');
}

/** Cancels what waits for a request that the store holds back. */
async function recordCancelledWhile(
  operation: string,
  keyPart: string,
  { name, start }: { readonly name: string; readonly start: () => Promise<OperationHandle<unknown, unknown>> },
): Promise<void> {
  const { server } = site.s3;
  if (server === undefined) throw new Error('the site has no S3 server of its own');
  using store = new StoreTroubles(server);
  const gate = store.hold(operation, keyPart);
  const handle = await start();
  await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 60_000, description: `${operation} is on its way` });
  await handle.cancel();
  await record(name, handle);
  gate.open();
}

async function recordScheduled(): Promise<void> {
  await site.client.schedules.set({ cluster: demoCluster, cron: '0 2 * * *' });
  await site.client.schedules.trigger(demoCluster);
  await saveCompleted('scheduled-base-backup.taken', 'scheduledBaseBackup');
}

/** Verification, retention and marks, each by itself and where it can be by its schedule; and the question for the window. */
async function recordArchiveCare(): Promise<void> {
  const cluster = demoCluster;
  await record('verify-archive.completed', await site.client.startVerify({ cluster, deep: true }));
  await site.client.archiveWindow({ cluster });
  await saveCompleted('read-archive-window.answered', 'readArchiveWindow');
  await site.client.planRestore(await request(site, { name: 'planned' }));
  await saveCompleted('plan-restore.answered', 'planRestore');
  const [backup] = await site.client.listBackups({ cluster });
  await site.client.markBackup({ cluster, backup: backup?.name ?? '', isPermanent: true });
  await saveCompleted('mark-backup.marked', 'markBackup');
  await record('prune.refused', await site.client.startPrune({ cluster, keepFull: 0 }));
  await record('prune.planned', await site.client.startPrune({ cluster, keepFull: 1 }));
  await record('prune.confirmed', await site.client.startPrune({ cluster, keepFull: 1, confirm: true }));
  const cron = '0 4 * * *';
  await site.client.schedules.set({ cluster, cron, action: { operation: 'verify', deep: false } });
  await site.client.schedules.trigger(cluster, 'verify');
  await saveCompleted('scheduled-verification.sound', 'scheduledVerification');
  await site.client.schedules.set({ cluster, cron, action: { operation: 'prune', confirm: true, keepFull: 1 } });
  await site.client.schedules.trigger(cluster, 'prune');
  await saveCompleted('scheduled-prune.pruned', 'scheduledPrune');
  await recordCancelledWhile('ListObjectsV2', '', {
    name: 'verify-archive.cancelled',
    start: () => site.client.startVerify({ cluster }),
  });
}

/** A part of the newest backup is missing: the restore goes back to the one before. */
async function recordOlderBackup(): Promise<void> {
  await (await site.client.startBackup({ cluster: demoCluster })).result();
  const backups = await site.client.listBackups({ cluster: demoCluster });
  await using store = openArchive(site, demoCluster);
  const keys = [...(await listKeys(store, tarPartitionsPrefix(backups.at(-1)?.name ?? ''))).keys()];
  await using _missing = await remove(store, keys.find((key) => key.includes('/part_')) ?? '');
  const wanted = await request(site, { name: 'went-back', allowOlderBackup: true });
  await record('point-in-time-restore.older-backup', await site.client.startRestore(wanted));
}

/** A restored cluster that is examined and backed up by itself, one that replaces its source and is undone, and the questions about them. */
async function recordFamily(): Promise<void> {
  const cluster = demoCluster;
  await site.client.recordBaseline({ cluster });
  await saveCompleted('record-baseline.taken', 'recordBaseline');
  const examined = await request(site, { name: 'protected', protect: true, amcheck: true, baseline: { tolerancePercent: 100 } });
  await record('point-in-time-restore.examined-and-protected', await site.client.startRestore(examined));
  await save('base-backup.of-restored-cluster', 'backup/protected');
  await site.client.landingReport('protected');
  await saveCompleted('read-landing-report.answered', 'readLandingReport');
  await site.client.lineage({ cluster });
  await saveCompleted('read-lineage.answered', 'readLineage');
  const replacing = await site.client.startRestore(await request(site, { name: 'moved', source: 'stop', retireHours: 1 }));
  await record('point-in-time-restore.source-retired', replacing);
  await record('undo-restore.undone', await site.client.startUndo({ restoreId: replacing.workflowId }));
}

/** The last, since it ends with a dead source. */
async function recordSalvaged(): Promise<void> {
  const { dataDirectory, server } = site.source;
  {
    await using source = await connectServer(server);
    await source.query('INSERT INTO later VALUES (2)');
  }
  const { pid } = await serverState(dataDirectory);
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
  await waitUntil(async () => !(await serverState(dataDirectory)).running, { description: 'the source is dead' });
  const salvaged = {
    name: 'salvaged',
    source: 'salvage',
    target: { kind: 'latest' },
    dataDirectory: join(site.directory, 'salvaged'),
  } as const;
  site.restored.push(salvaged.dataDirectory);
  const handle = await site.client.startRestore({ cluster: demoCluster, host: demoHost, port: await freePort(), ...salvaged });
  await record('point-in-time-restore.salvaged', handle);
}

/** Saves a run of the type once it has completed: the list follows a moment later. */
async function saveCompleted(name: string, workflowType: string): Promise<void> {
  const run = await waitUntil(
    async () => {
      for await (const execution of client.workflow.list({ query: `WorkflowType = '${workflowType}' AND ExecutionStatus = 'Completed'` }))
        return execution.workflowId;
      return undefined;
    },
    { timeoutMs: 60_000, description: `a run of ${workflowType}` },
  );
  await save(name, run);
}

/** A target between two commits. */
async function request(where: DemoSite, wanted: Pick<RestoreRequest, 'name'> & Partial<RestoreRequest>): Promise<RestoreRequest> {
  await using source = await connectServer(where.source.server);
  await source.query('CREATE TABLE IF NOT EXISTS later (n int)');
  const [row] = await source.query<{ now: string }>('SELECT clock_timestamp()::text AS now, pg_sleep(0.05)');
  await source.query('INSERT INTO later VALUES (1)');
  const dataDirectory = join(where.directory, wanted.name);
  where.restored.push(dataDirectory);
  return {
    cluster: demoCluster,
    host: demoHost,
    target: { kind: 'time', time: parseInstant(row?.now ?? '') },
    dataDirectory,
    port: await freePort(),
    ...wanted,
  };
}
