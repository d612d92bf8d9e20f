/** The agent dies while it fetches a base backup: another one goes on where it stopped. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitUntil } from '../../harness/wait-until.ts';
import { withTemporal } from '../cli/temporal.ts';
import { Scene, stepOf } from '../faults/scene.ts';

/** Tables of 8 MiB that do not compress: each fills more than one of the small parts. */
const tableCount = 8;
const fill = Array.from(
  { length: tableCount },
  (_, index) =>
    `CREATE TABLE bulk_${index} AS SELECT g AS n, sha512((g + ${index})::text::bytea) AS bytes FROM generate_series(1, 80000) AS g`,
);
const bulkSql = `SELECT string_agg(md5, ' ' ORDER BY md5) FROM (${fill.map((_, index) => `SELECT md5(string_agg(bytes, '' ORDER BY n)) FROM bulk_${index}`).join(' UNION ALL ')}) AS tables`;
const partKeys = 'tar_partitions/part_';
let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open({ fill, environment: { WALKBACK_STORAGE_TAR_PARTITION_MIB: '4', WALKBACK_STORAGE_DOWNLOAD_CONCURRENCY: '2' } });
});
afterAll(async () => scene[Symbol.asyncDispose]());

/** How often Temporal has given out the step that runs. */
async function attemptsOf(workflowId: string): Promise<number> {
  const { raw } = await withTemporal(scene.site, (client) => client.workflow.getHandle(workflowId).describe());
  return Math.max(0, ...(raw.pendingActivities ?? []).map(({ attempt }) => attempt ?? 0));
}

describe('kill -9 of the agent during the fetch', () => {
  it('ends right, and does not fetch again what was done', async () => {
    const { store } = scene;
    const target = await scene.noteTarget();
    const bulkRows = await scene.valueOfSource(bulkSql);
    // Two parts come through, the others wait.
    const { promise: until, resolve: goOn } = Promise.withResolvers<void>();
    const started: string[] = [];
    store.make(({ operation, key }) => {
      if (operation !== 'GetObject' || !key.includes(partKeys)) return undefined;
      started.push(key);
      return started.length <= 2 ? undefined : { kind: 'hold-request', until };
    });
    const { handle } = await scene.restore({ name: 'fetched', target: { kind: 'time', time: target.time } });
    await waitUntil(() => started.length >= 4, { timeoutMs: 30_000, description: 'two parts are in place and two are asked for' });
    const done = started.slice(0, 2);
    const asked = started.slice(2);
    await scene.kill('agent');
    goOn();
    store.end();
    await scene.start('agent');
    const report = await handle.result();
    const counts = store.countByKey('GetObject', partKeys);
    expect(counts.size).toBeGreaterThan(tableCount);
    expect(done.map((key) => counts.get(key))).toEqual([1, 1]);
    expect(asked.map((key) => counts.get(key))).toEqual([2, 2]);
    expect(stepOf(report, 'fetch-base-backup')?.attempts).toBeGreaterThan(1);
    expect(report.endReason).toBe('target-reached');
    expect(await scene.rowsOf(report)).toBe(target.rows);
    expect(await scene.valueOf(report, bulkSql)).toBe(bulkRows);
  });
});

describe('an agent that stands still during the fetch for so long that its step is given out again', () => {
  it('wakes up with a late attempt, which touches nothing beside the new one', async () => {
    const { store } = scene;
    const target = await scene.noteTarget();
    const bulkRows = await scene.valueOfSource(bulkSql);
    const gate = store.hold('GetObject', partKeys);
    const { handle } = await scene.restore({ name: 'frozen', target: { kind: 'time', time: target.time } });
    await waitUntil(() => gate.arrived.length >= 2, { timeoutMs: 30_000, description: 'two parts are asked for' });
    const wakeUp = scene.freeze('agent');
    try {
      await waitUntil(async () => (await attemptsOf(handle.workflowId)) > 1, {
        timeoutMs: 60_000,
        description: 'the step is given out again',
      });
    } finally {
      wakeUp();
    }
    gate.open();
    store.end();
    const report = await handle.result();
    expect(stepOf(report, 'fetch-base-backup')?.attempts).toBeGreaterThan(1);
    expect(await scene.rowsOf(report)).toBe(target.rows);
    expect(await scene.valueOf(report, bulkSql)).toBe(bulkRows);
  });
});
