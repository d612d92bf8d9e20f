/** A base backup that the archive does not hold as it was written: refused by name, or given up for an older one when that is allowed. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tarPartitionsPrefix } from '../../../src/archive/layout.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
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
