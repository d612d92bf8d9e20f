/** Cancelling ends a base backup and its session on the source, wherever it stands and whoever is dead; the next one removes what it has stored. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { OperationHandle } from '../../../src/client/handles.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { withTemporal } from '../cli/temporal.ts';
import { Scene } from './scene.ts';
import type { Gate } from './store-troubles.ts';
import { listKeys, openArchive } from './stored-objects.ts';

/** Sessions in which a base backup runs. */
const sessionsOfBackup = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'walkback base backup'`;
/** Tables of 6 MiB that do not compress: each fills a part of its own. */
const fill = [1, 2, 3].map(
  (salt) => `CREATE TABLE bulk_${salt} AS SELECT g AS n, sha512((g + ${salt})::text::bytea) AS bytes FROM generate_series(1, 60000) AS g`,
);
const partKeys = 'tar_partitions/part_';
/** While the agent answers. */
const cancelBoundMs = 12_000;
/** When it is gone: so long is waited for it, and then the workflow ends without it. */
const lostAgentBoundMs = 25_000;
let scene: Scene;
let gates: Gate[] = [];

beforeAll(async () => {
  scene = await Scene.open({ fill, environment: { WALKBACK_STORAGE_TAR_PARTITION_MIB: '4', WALKBACK_STORAGE_UPLOAD_CONCURRENCY: '2' } });
});
afterEach(() => {
  scene.store.end();
  for (const gate of gates) gate.open();
  gates = [];
});
afterAll(async () => scene[Symbol.asyncDispose]());

type BackupHandle = Awaited<ReturnType<Scene['site']['client']['startBackup']>>;

/** A backup of which parts are on their way, held by the store. */
async function startHeld(): Promise<{ handle: BackupHandle; name: string }> {
  const gate = scene.store.hold('PutObject', partKeys);
  gates.push(gate);
  const handle = await scene.site.client.startBackup({ cluster: demoCluster });
  await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 30_000, description: 'a part is on its way' });
  expect(await scene.valueOfSource(sessionsOfBackup)).toBe('1');
  return { handle, name: /(base_[0-9A-F]{24})\//.exec(gate.arrived[0]!)![1]! };
}

async function expectCancelled(handle: OperationHandle<unknown, unknown>, boundMs: number): Promise<void> {
  const startedMs = performance.now();
  await handle.cancel();
  await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(performance.now() - startedMs).toBeLessThan(boundMs);
}

async function untilNoSession(): Promise<void> {
  await waitUntil(async () => (await scene.valueOfSource(sessionsOfBackup)) === '0', {
    description: 'the session of the backup is gone',
  });
}

/** Objects of backups that do not count. */
async function orphans(): Promise<string[]> {
  await using archive = openArchive(scene.site, demoCluster);
  const keys = [...(await listKeys(archive, 'basebackups_005/')).keys()];
  const counting = keys.flatMap((key) => /(base_[0-9A-F]{24})_backup_stop_sentinel/.exec(key)?.[1] ?? []);
  return keys.filter((key) => !counting.some((name) => key.includes(name)));
}

describe('A17: a base backup that is cancelled', () => {
  it('ends while its files are copied, with its session, and the next one removes what it has stored', async () => {
    let stored = 0;
    scene.store.make(({ operation, key }) => {
      if (operation !== 'PutObject' || !key.includes(partKeys)) return undefined;
      stored += 1;
      return stored === 1 ? undefined : { kind: 'delay', delayMs: 600_000 };
    });
    const handle = await scene.site.client.startBackup({ cluster: demoCluster });
    await waitUntil(async () => stored > 1 && (await orphans()).length > 0, { timeoutMs: 30_000, description: 'one part is stored' });
    await expectCancelled(handle, cancelBoundMs);
    await untilNoSession();
    scene.store.end();
    expect(await orphans()).not.toEqual([]);
    await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
    expect(await orphans()).toEqual([]);
  });

  it('ends between two attempts, of which the second would have gone on in the session of the first', async () => {
    scene.store.fail('PutObject', partKeys, { kind: 'reset-before-answer' });
    const handle = await scene.site.client.startBackup({ cluster: demoCluster });
    await withTemporal(scene.site, async (client) => {
      const workflow = client.workflow.getHandle(`backup/${demoCluster}`);
      await waitUntil(
        async () => {
          const { raw } = await workflow.describe();
          return raw.pendingActivities?.some(({ lastFailure, lastStartedTime, scheduledTime }) => {
            const waits = Number(scheduledTime?.seconds ?? 0) > Number(lastStartedTime?.seconds ?? 0);
            return lastFailure != null && waits;
          });
        },
        { timeoutMs: 60_000, description: 'an attempt has failed, and the next one has not begun' },
      );
    });
    expect(await scene.valueOfSource(sessionsOfBackup)).toBe('1');
    await expectCancelled(handle, cancelBoundMs);
    await untilNoSession();
  });

  it('ends when its agent is dead, without waiting for it for long', async () => {
    const { handle } = await startHeld();
    await scene.kill('agent');
    await expectCancelled(handle, lostAgentBoundMs);
    await untilNoSession();
    await scene.start('agent');
  });
});

describe('a base backup whose workflow is terminated', () => {
  it('leaves its session to nobody: the next base backup ends it, and counts', async () => {
    const { name } = await startHeld();
    await withTemporal(scene.site, async (client) => client.workflow.getHandle(`backup/${demoCluster}`).terminate('by a test'));
    scene.store.end();
    const { backup } = await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
    expect(backup.name).not.toBe(name);
    await untilNoSession();
    expect(await orphans()).toEqual([]);
  });
});
