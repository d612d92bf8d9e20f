/** A base backup that the archive does not hold as it was written: refused by name, or given up for an older one when that is allowed. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { filesMetadataKey, manifestKey, metadataKey, sentinelKey, tarPartitionsPrefix } from '../../../src/archive/layout.ts';
import { demoCluster, demoHost } from '../../../src/demo/demo-site.ts';
import { freePort } from '../../../src/demo/local-services/free-port.ts';
import { renderLandingReport } from '../../../src/domain/render-landing-report.ts';
import { Scene, stepOf } from './scene.ts';
import { damage, listKeys, openArchive, remove } from './stored-objects.ts';

let scene: Scene;
/** The oldest first: a full one, a delta of it, another full one. */
let backups: readonly string[];
let target: Awaited<ReturnType<Scene['noteTarget']>>;

beforeAll(async () => {
  scene = await Scene.open();
  await scene.writeSegments(1);
  await (await scene.site.client.startBackup({ cluster: demoCluster, kind: 'incremental' })).result();
  await scene.writeSegments(1);
  await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
  await scene.writeSegments(1);
  target = await scene.noteTarget();
  backups = (await scene.site.client.listBackups({ cluster: demoCluster })).map(({ name }) => name);
});
afterAll(async () => scene?.[Symbol.asyncDispose]());

/** The key of a part of the backup. */
async function partOf(backup: string | undefined): Promise<string> {
  await using store = openArchive(scene.site, demoCluster);
  const keys = [...(await listKeys(store, tarPartitionsPrefix(backup ?? ''))).keys()];
  return keys.find((key) => key.includes('/part_')) ?? '';
}

it('a damaged base backup ends the restore, naming the object and the option that goes back', async () => {
  const [, , newest] = backups;
  const key = await partOf(newest);
  await using store = openArchive(scene.site, demoCluster);
  await using _damaged = await damage(store, key);
  const { handle, request } = await scene.restore({ name: 'refused', target: { kind: 'time', time: target.time } });
  await expect(handle.result()).rejects.toMatchObject({
    code: 'OBJECT_DAMAGED',
    message: expect.stringContaining(key) as string,
    hint: expect.stringContaining('--allow-older-backup') as string,
    facts: { backup: newest },
  });
  expect(existsSync(join(request.dataDirectory, 'global/pg_control'))).toBe(false);
});

it('with allowOlderBackup the restore goes back to the newest sound backup, lands right and says so', async () => {
  const [, delta, newest] = backups;
  const key = await partOf(newest);
  await using store = openArchive(scene.site, demoCluster);
  await using _damaged = await damage(store, key);
  const { handle } = await scene.restore({ name: 'went-back', target: { kind: 'time', time: target.time }, allowOlderBackup: true });
  const report = await handle.result();
  expect(await scene.rowsOf(report)).toBe(target.rows);
  expect(report).toMatchObject({
    endReason: 'target-reached',
    backup: delta,
    damagedBackups: [{ backup: newest, key, reason: expect.stringContaining(key) as string }],
  });
  expect(stepOf(report, 'older-backup')).toBeDefined();
  expect(renderLandingReport(report)).toContain(`given up`);
  expect(existsSync(join(report.dataDirectory, 'walkback_restore/parts', newest ?? ''))).toBe(false);
});

it('a backup whose ancestor has lost an object is given up with all that build on it', async () => {
  const [oldest, delta, newest] = backups;
  await using store = openArchive(scene.site, demoCluster);
  await using _newest = await remove(store, await partOf(newest));
  await using _oldest = await remove(store, await partOf(oldest));
  const { handle } = await scene.restore({ name: 'nothing-left', target: { kind: 'time', time: target.time }, allowOlderBackup: true });
  await expect(handle.result()).rejects.toMatchObject({
    code: 'NO_BACKUP',
    message: expect.stringContaining(`${newest} was given up`) as string,
  });
  const { steps } = await handle.progress();
  // The newest, and the delta: once its ancestor was found damaged, that was not tried by itself.
  expect(steps.filter(({ name }) => name === 'older-backup')).toHaveLength(2);
  expect(delta).toContain('_D_');
});

it.each([
  ['sentinel', sentinelKey],
  ['metadata', metadataKey],
])(
  'a damaged %s of the newest backup is refused before any work, naming its key, and passed over when that is allowed',
  async (name, keyOf) => {
    const [, delta, newest = ''] = backups;
    const key = keyOf(newest);
    await using store = openArchive(scene.site, demoCluster);
    await using _damaged = await damage(store, key);
    const wanted = { name: `no-${name}`, target: { kind: 'time', time: target.time } } as const;
    const refused = await scene.restore(wanted);
    await expect(refused.handle.result()).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      message: expect.stringContaining(key) as string,
      hint: expect.stringContaining('--allow-older-backup') as string,
      facts: { backup: newest, key, olderBackup: delta },
    });
    expect(existsSync(refused.request.dataDirectory)).toBe(false);
    const looked = await scene.site.client.planRestore(refused.request);
    expect(looked.checks.find((check) => check.name === 'base-backup')).toMatchObject({
      refusal: { code: 'OBJECT_DAMAGED', facts: { key } },
    });

    const allowed = { ...wanted, allowOlderBackup: true };
    const plan = await scene.site.client.planRestore({ ...refused.request, ...allowed });
    expect(plan).toMatchObject({ isPossible: true, backup: { name: delta, why: expect.stringContaining(key) as string } });
    const report = await (await scene.restore(allowed)).handle.result();
    expect(await scene.rowsOf(report)).toBe(target.rows);
    expect(report).toMatchObject({
      backup: delta,
      damagedBackups: [{ backup: newest, key, reason: expect.stringContaining(key) as string }],
    });
  },
);

it('a backup without a sentinel is unfinished and no damage, and one whose file list is damaged is given up while it is fetched', async () => {
  const [, delta, newest = ''] = backups;
  await using store = openArchive(scene.site, demoCluster);
  const wanted = { target: { kind: 'time', time: target.time } } as const;
  {
    await using _unfinished = await remove(store, sentinelKey(newest));
    const place = { host: demoHost, dataDirectory: join(scene.site.directory, 'unfinished'), port: await freePort() };
    const plan = await scene.site.client.planRestore({ ...wanted, ...place, cluster: demoCluster, name: 'unfinished' });
    expect(plan.backup?.name).toBe(delta);
  }
  for (const key of [manifestKey(newest), filesMetadataKey(newest)]) {
    await using _damaged = await damage(store, key);
    const { handle } = await scene.restore({
      ...wanted,
      name: `no-${key.includes('files') ? 'files' : 'manifest'}`,
      allowOlderBackup: true,
    });
    expect(await handle.result()).toMatchObject({ backup: delta, damagedBackups: [{ backup: newest, key }] });
  }
});
