/** A base backup is interrupted: by its store, and by the end of its agent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene } from '../faults/scene.ts';
import { listKeys, openArchive } from '../faults/stored-objects.ts';

/** Tables of 6 MiB that do not compress: each fills a part of its own. */
const tableCount = 6;
const fill = Array.from(
  { length: tableCount },
  (_, index) =>
    `CREATE TABLE bulk_${index} AS SELECT g AS n, sha512((g + ${index})::text::bytea) AS bytes FROM generate_series(1, 60000) AS g`,
);
const partKeys = 'tar_partitions/part_';
let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open({ fill, environment: { WALKBACK_STORAGE_TAR_PARTITION_MIB: '4', WALKBACK_STORAGE_UPLOAD_CONCURRENCY: '2' } });
});
afterAll(async () => scene[Symbol.asyncDispose]());

/** Names of the backups whose objects the keys are. */
function backupsOf(keys: Iterable<string>): ReadonlySet<string> {
  return new Set([...keys].map((key) => /(base_[0-9A-F]{24})\//.exec(key)?.[1] ?? key));
}

describe('a base backup', () => {
  it('goes on with the parts that are not stored when the store is back, in the same session', async () => {
    const { store, site } = scene;
    store.seen.length = 0;
    const stored: string[] = [];
    let failedCount = 0;
    store.make(({ operation, key }) => {
      if (operation !== 'PutObject' || !key.includes(partKeys)) return undefined;
      if (stored.length < 3) {
        stored.push(key);
        return undefined;
      }
      failedCount += 1;
      return { kind: 'reset-before-answer' };
    });
    const handle = await site.client.startBackup({ cluster: demoCluster });
    await waitUntil(() => failedCount >= 8, {
      timeoutMs: 60_000,
      description: 'an attempt has failed for the store, and the next one too',
    });
    store.end();
    const report = await handle.result();
    expect(report.steps.find(({ name }) => name === 'copy-files')?.attempts).toBeGreaterThan(1);
    const counts = store.countByKey('PutObject', partKeys);
    // Of the three, one may have been on its way when another part failed: then it is uploaded again.
    expect(stored.filter((key) => counts.get(key) === 1).length).toBeGreaterThanOrEqual(2);
    expect([...backupsOf(counts.keys())]).toEqual([report.backup.name]);
    expect(counts.size).toBeGreaterThan(tableCount);
  });

  it('is taken anew when the agent is killed, and nothing is left of the first try', async () => {
    const { store, site } = scene;
    store.seen.length = 0;
    const gate = store.hold('PutObject', partKeys);
    const handle = await site.client.startBackup({ cluster: demoCluster });
    await waitUntil(() => gate.arrived.length >= 2, { timeoutMs: 60_000, description: 'two parts are on their way' });
    await scene.kill('agent');
    gate.open();
    store.end();
    await scene.start('agent');
    const report = await handle.result();
    await using archive = openArchive(site, demoCluster);
    const [abandoned] = backupsOf(gate.arrived);
    expect(abandoned).not.toBe(report.backup.name);
    const keys = [...(await listKeys(archive, '')).keys()];
    expect(keys.filter((key) => key.includes(abandoned!) && !key.startsWith('wal_005/'))).toEqual([]);
    expect(keys.some((key) => key.includes(report.backup.name))).toBe(true);
  });
});

describe('a base backup whose data the store has', () => {
  it('is over for the server while the store does not put an object together, and sends nothing again for it', async () => {
    // Everything is in one part, of several pieces.
    await using scene = await Scene.open({ fill, environment: { WALKBACK_STORAGE_PART_SIZE_MIB: '5' } });
    const { store, site } = scene;
    store.seen.length = 0;
    let failedCount = 0;
    store.make(({ operation, key }) => {
      if (operation !== 'CompleteMultipartUpload' || !key.includes(partKeys)) return undefined;
      failedCount += 1;
      return { kind: 'reset-before-answer' };
    });
    const handle = await site.client.startBackup({ cluster: demoCluster });
    // pg_backup_stop has the server archive the backup's history file.
    const isStopped = (): boolean => store.countByKey('PutObject', '.backup').size > 0;
    await waitUntil(() => failedCount >= 8 && isStopped(), {
      timeoutMs: 60_000,
      description: 'the backup is stopped, and a second attempt has failed for the store',
    });
    store.end();
    const report = await handle.result();
    expect(report.steps.find(({ name }) => name === 'copy-files')?.attempts).toBeGreaterThan(1);
    expect([...store.countByKey('CreateMultipartUpload', partKeys).values()]).toEqual([1]);
    await using archive = openArchive(site, demoCluster);
    const keys = await listKeys(archive, `basebackups_005/${report.backup.name}/tar_partitions/`);
    expect([...keys.keys()].filter((key) => key.includes(partKeys))).toHaveLength(1);
  });
});
