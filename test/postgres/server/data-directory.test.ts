import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  clearFetchedFiles,
  createDataDirectory,
  inspectDataDirectory,
  makeBootable,
  makeUnbootable,
} from '../../../src/postgres/data-directory.ts';
import { readMarker, type RestoreMarker, updateMarker } from '../../../src/postgres/restore-marker.ts';
import { availableInstallations, createTestCluster } from '../../harness/postgres.ts';

const [installation] = await availableInstallations();
const marker: RestoreMarker = { restoreId: 'a', runId: '1', name: 'shop-restored', createdAt: '2026-11-23T00:00:00Z', phase: 'created' };
let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wb-dir-'));
  path = join(directory, 'not/there/yet');
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

describe('clearFetchedFiles', () => {
  it('clearFetchedFiles leaves the marker alone of an unfinished fetch, and can be called again', async () => {
    await createDataDirectory(path, marker);
    await mkdir(join(path, 'global'));
    await writeFile(join(path, 'global/pg_control'), '');
    await mkdir(join(path, 'walkback_restore/parts'));
    for (let call = 0; call < 2; call += 1) {
      await clearFetchedFiles(path);
      expect([await readdir(path), await readdir(join(path, 'walkback_restore'))]).toEqual([['walkback_restore'], ['marker.json']]);
    }
    expect(await readMarker(path)).toEqual(marker);
  });

  it("clearFetchedFiles touches nothing when the fetch had come to its end, or the directory is nobody's", async () => {
    await createDataDirectory(path, { ...marker, phase: 'fetched' });
    await writeFile(join(path, 'PG_VERSION'), '16');
    await expect(clearFetchedFiles(path)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    await rm(join(path, 'walkback_restore'), { recursive: true });
    await expect(clearFetchedFiles(path)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    expect(await readdir(path)).toEqual(['PG_VERSION']);
  });
});

describe('createDataDirectory', () => {
  it('createDataDirectory makes it with its parents, private and marked, when nothing is there', async () => {
    expect(await inspectDataDirectory(path)).toEqual({ kind: 'absent' });
    await createDataDirectory(path, marker);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'not'))).mode & 0o777).toBe(0o700);
    expect(await inspectDataDirectory(path)).toEqual({ kind: 'marked', marker, running: false });
  });

  it('createDataDirectory takes the directory as it is when it carries the same restore', async () => {
    await createDataDirectory(path, marker);
    await updateMarker(path, { phase: 'fetched' });
    expect(await createDataDirectory(path, { ...marker, runId: '2' })).toEqual({ ...marker, phase: 'fetched' });
  });

  it('createDataDirectory makes an empty directory private when it was open', async () => {
    await mkdir(path, { recursive: true, mode: 0o755 });
    expect(await inspectDataDirectory(path)).toEqual({ kind: 'empty' });
    await createDataDirectory(path, marker);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  });

  it('createDataDirectory lets one win when several want the same directory', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
    const results = await Promise.allSettled(
      ids.map(async (restoreId) => await createDataDirectory(path, { ...marker, restoreId, runId: restoreId })),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    const codes = results.flatMap((result) => (result.status === 'rejected' ? [(result.reason as { code: string }).code] : []));
    expect(codes).toEqual(ids.slice(1).map(() => 'DATA_DIRECTORY_IN_USE'));
  });

  it("createDataDirectory refuses when the directory is somebody else's", async () => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'file'), '');
    await expect(createDataDirectory(path, marker)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_NOT_EMPTY' });
    await expect(createDataDirectory(join(path, 'file'), marker)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_NOT_EMPTY' });
    await expect(createDataDirectory('relative', marker)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await expect(createDataDirectory('/proc/nothing', marker)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });

  it('createDataDirectory goes on when an earlier run died before it had placed the marker', async () => {
    await mkdir(join(path, 'walkback_restore'), { recursive: true });
    await writeFile(join(path, 'walkback_restore', '.marker-1-x'), '{');
    await createDataDirectory(path, marker);
    expect(await readMarker(path)).toEqual(marker);
  });

  it('createDataDirectory refuses when the marker cannot be understood', async () => {
    await createDataDirectory(path, marker);
    await writeFile(join(path, 'walkback_restore', 'marker.json'), 'x');
    await expect(createDataDirectory(path, marker)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_DAMAGED' });
  });
});

describe('makeUnbootable', () => {
  it('makeUnbootable and makeBootable move pg_control away and back when called once or twice', async () => {
    await createDataDirectory(path, marker);
    await makeUnbootable(path);
    await mkdir(join(path, 'global'));
    await writeFile(join(path, 'global/pg_control'), 'x');
    for (let run = 1; run <= 2; run += 1) await makeUnbootable(path);
    expect(existsSync(join(path, 'global/pg_control'))).toBe(false);
    for (let run = 1; run <= 2; run += 1) await makeBootable(path);
    expect(existsSync(join(path, 'global/pg_control'))).toBe(true);
  });

  it('makeUnbootable refuses, and inspectDataDirectory says running, when a server is up', async () => {
    await using cluster = await createTestCluster({ installation: installation!, name: 'dir' });
    expect(await inspectDataDirectory(cluster.dataDirectory)).toMatchObject({ kind: 'running' });
    await symlink(cluster.dataDirectory, join(directory, 'link'));
    expect(await inspectDataDirectory(join(directory, 'link'))).toMatchObject({ kind: 'running' });
    await expect(makeUnbootable(cluster.dataDirectory)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    await expect(createDataDirectory(cluster.dataDirectory, marker)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    await cluster.stop();
    expect(await inspectDataDirectory(cluster.dataDirectory)).toEqual({ kind: 'occupied' });
    await makeUnbootable(cluster.dataDirectory);
    await expect(cluster.start()).rejects.toMatchObject({ code: 'POSTGRES_DID_NOT_START' });
    await makeBootable(cluster.dataDirectory);
    await cluster.start();
  });
});
