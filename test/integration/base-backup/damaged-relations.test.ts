/** A base backup of a damaged cluster, as its operator meets it. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import type { PageDamage } from '../../../src/domain/base-backup.ts';
import { documentOf, runCli } from '../cli/run-cli.ts';
import { Scene } from '../faults/scene.ts';

const pageBytes = 8192;
let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open({ pageChecksums: true });
});
afterAll(async () => scene[Symbol.asyncDispose]());

it('walkback backup warns of damaged pages with the relation, the file and the blocks', async () => {
  await scene.source('CREATE TABLE spoilt AS SELECT i FROM generate_series(1, 1000) i');
  await scene.source('CHECKPOINT');
  const file = await scene.valueOfSource(`SELECT pg_relation_filepath('spoilt')`);
  await overwrite(join(scene.site.source.dataDirectory, file), pageBytes + 4000);

  const relation = `${scene.site.source.server.database}.public.spoilt`;
  const told = await runCli(scene.site, ['backup', demoCluster, '--json']);
  expect(documentOf(told) as { damage: PageDamage }).toMatchObject({
    damage: { blockCount: 1, files: [{ file, relation, blockCount: 1, blocks: [1] }] },
  });
  expect(told.stderr).toContain(`${file}, ${relation} (block 1)`);
});

async function overwrite(path: string, positionBytes: number): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.write(Buffer.from('no page of PostgreSQL'), 0, undefined, positionBytes);
  } finally {
    await handle.close();
  }
}
