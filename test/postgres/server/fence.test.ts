import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertNotRetired, fenceDirectory, liftFence, readFence } from '../../../src/postgres/fence.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installation = (await availableInstallations()).at(-1)!;
const fence = {
  restoreId: 'restore/db1/srv/moved',
  cluster: 'shop',
  fencedAt: '2026-11-22T12:00:00.000Z',
  keepUntil: '2026-11-23T12:00:00.000Z',
};

describe('the fence around a retired cluster', () => {
  let cluster: TestCluster;

  beforeAll(async () => {
    cluster = await createTestCluster({ installation, name: 'fence' });
    await cluster.query('CREATE TABLE kept AS SELECT 1 AS n');
  });
  afterAll(async () => cluster[Symbol.asyncDispose]());

  it('is not put up while the server runs', async () => {
    await expect(fenceDirectory(cluster.dataDirectory, fence)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    expect(await readFence(cluster.dataDirectory)).toBeUndefined();
  });

  it('keeps the server from being started by us and by PostgreSQL itself, and says who may lift it', async () => {
    await cluster.stop();
    expect(await fenceDirectory(cluster.dataDirectory, fence)).toEqual(fence);
    // Put up once more, later: the first one stays.
    expect(await fenceDirectory(cluster.dataDirectory, { ...fence, keepUntil: '2030-01-01T00:00:00.000Z' })).toEqual(fence);
    await expect(cluster.start()).rejects.toMatchObject({
      code: 'CLUSTER_RETIRED',
      hint: expect.stringContaining(fence.restoreId) as string,
    });
    await expect(assertNotRetired(cluster.dataDirectory)).rejects.toMatchObject({ facts: { keepUntil: fence.keepUntil } });
    const byHand = await execa(join(installation.binDirectory, 'postgres'), ['-D', cluster.dataDirectory], { reject: false });
    expect(byHand.exitCode).not.toBe(0);
    expect(byHand.stderr).toMatch(/pg_control|control file/);
    const other = { ...fence, restoreId: 'restore/db1/srv/other' };
    await expect(fenceDirectory(cluster.dataDirectory, other)).rejects.toMatchObject({ code: 'CLUSTER_RETIRED' });
    await expect(liftFence(cluster.dataDirectory, other.restoreId)).rejects.toMatchObject({ code: 'CLUSTER_RETIRED' });
  });

  it('is lifted by its own restore, also when an earlier attempt got only half way, and nothing is lost', async () => {
    await liftFence(cluster.dataDirectory, fence.restoreId);
    // As a kill between its two halves leaves it: the file is there, pg_control in place.
    await writeFile(join(cluster.dataDirectory, 'walkback_fence.json'), JSON.stringify(fence));
    await expect(cluster.start()).rejects.toMatchObject({ code: 'CLUSTER_RETIRED' });
    await liftFence(cluster.dataDirectory, fence.restoreId);
    await liftFence(cluster.dataDirectory, fence.restoreId);
    await cluster.start();
    expect(await cluster.query('SELECT n FROM kept')).toEqual([{ n: 1 }]);
  });

  it('that cannot be understood keeps the server down', async () => {
    await cluster.stop();
    const path = join(cluster.dataDirectory, 'walkback_fence.json');
    await writeFile(path, '{"restoreId":');
    await expect(cluster.start()).rejects.toMatchObject({ code: 'DATA_DIRECTORY_DAMAGED' });
    await rm(path);
  });
});
