import { appendFileSync, rmSync, truncateSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup, sweepOrphans } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { BaseBackupUpload, uploadBaseBackup, type UploadBaseBackupOptions } from '../../src/archive/base-backup-push.ts';
import { listBaseBackups, readBaseBackup } from '../../src/archive/catalog.ts';
import type { Compression } from '../../src/archive/compression.ts';
import { readSourceRecord } from '../../src/archive/source-records.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import {
  addTablespace,
  contentsOf,
  controlFile,
  emptyDirectories,
  keptFiles,
  makeDataDirectory,
  start,
  stopped,
} from './support/data-directory.ts';
import { sourceRecord } from '../domain/support/source-record.ts';
import { damagedAtFirst, keysOf, storeIn, temporaryDirectory, watched } from './support/temporary.ts';

const partsPrefix = `basebackups_005/${start.name}/tar_partitions/`;

function uploadOptions(store: ObjectStore, dataDirectory: string): UploadBaseBackupOptions {
  return { store, dataDirectory, compression: 'zstd', partBytes: 256 * 1024, start, stop: async () => stopped };
}

/** A store that holds one backup of the synthetic tree. */
async function archived(directory: string, compression: Compression = 'zstd') {
  const source = join(directory, 'source');
  await makeDataDirectory(source);
  const { store, root } = await storeIn(directory);
  const uploaded = await uploadBaseBackup({ ...uploadOptions(store, source), compression });
  await completeBaseBackup(store, uploaded);
  return { source, store, root, uploaded };
}

function fetchOptions(store: ObjectStore, directory: string) {
  const into = join(directory, 'target');
  return { store, backup: start.name, into, stateDirectory: join(into, 'walkback_restore') };
}

async function flipByte(path: string, positionBytes: number): Promise<void> {
  const bytes = await readFile(path);
  bytes.writeUInt8((bytes[positionBytes] ?? 0) ^ 0x01, positionBytes);
  await writeFile(path, bytes);
}

describe('a base backup', () => {
  it.each(['zstd', 'lz4', 'brotli', 'none'] as const)(
    'fetchBaseBackup brings back what uploadBaseBackup stored when compressed by %s',
    async (compression) => {
      await using directory = await temporaryDirectory();
      const { source, store } = await archived(directory.path, compression);
      const options = fetchOptions(store, directory.path);
      const result = await fetchBaseBackup(options);
      await rm(options.stateDirectory, { recursive: true });
      const contents = await contentsOf(options.into);
      const original = await contentsOf(source);
      for (const name of [...Object.keys(keptFiles), 'base/5/sparse', 'global/pg_control']) expect(contents[name]).toBe(original[name]);
      for (const name of emptyDirectories) expect(contents[`${name}/`]).toBe('directory');
      expect(await readFile(join(options.into, 'backup_label'), 'utf8')).toBe(stopped.labelFile);
      const expectedFiles = [
        ...Object.keys(keptFiles),
        'base/5/sparse',
        'global/pg_control',
        'backup_label',
        'tablespace_map',
        'backup_manifest',
      ];
      expect(
        Object.keys(contents)
          .filter((name) => !name.endsWith('/'))
          .sort(),
      ).toEqual(expectedFiles.sort());
      expect((await stat(options.into)).mode & 0o777).toBe(0o700);
      expect((await stat(join(options.into, 'PG_VERSION'))).mode & 0o777).toBe(0o600);
      expect(result).toMatchObject({ partsAlreadyFetched: 0, parts: (await keysOf(store, partsPrefix)).length });
    },
  );

  it('uploadBaseBackup reads pg_control after all parts, and stops the backup after that', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    const order: string[] = [];
    await uploadBaseBackup({
      ...uploadOptions(
        watched(store, (operation, key) => operation === 'upload' && order.push(key.replace(/part_\d+/, 'part').slice(partsPrefix.length))),
        source,
      ),
      stop: async () => {
        order.push('stop');
        return stopped;
      },
    });
    const last = order.filter((name) => name !== 'part.tar.zst');
    expect(last.slice(0, 3)).toEqual(['pg_control.tar.zst', 'stop', 'backup_label.tar.zst']);
    expect(order.lastIndexOf('part.tar.zst')).toBeLessThan(order.indexOf('pg_control.tar.zst'));
  });

  it('listBaseBackups and readBaseBackup say what was uploaded, and list nothing before it is complete', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    const uploaded = await uploadBaseBackup(uploadOptions(store, source));
    expect(await listBaseBackups(store)).toEqual({ backups: [], damaged: [] });
    expect(await readBaseBackup(store, start.name)).toBeUndefined();
    const throughJson = JSON.parse(JSON.stringify(uploaded)) as typeof uploaded;
    await completeBaseBackup(store, throughJson);
    await completeBaseBackup(store, throughJson);
    expect(await listBaseBackups(store)).toEqual({ backups: [uploaded.backup], damaged: [] });
    expect(uploaded.backup).toMatchObject({ startSegment: '000000010000000000000005', systemIdentifier: start.systemIdentifier });
    expect(JSON.stringify(uploaded).length).toBeLessThan(2048);
  });

  it('uploadBaseBackup refuses when the name is taken, and sweepOrphans removes nothing then', async () => {
    await using directory = await temporaryDirectory();
    const { source, store } = await archived(directory.path);
    await expect(uploadBaseBackup(uploadOptions(store, source))).rejects.toMatchObject({ code: 'BACKUP_FAILED' });
    await expect(sweepOrphans(store, start.name)).rejects.toMatchObject({ code: 'BACKUP_FAILED' });
    await fetchBaseBackup(fetchOptions(store, directory.path));
  });

  it('uploadBaseBackup leaves out a file that vanishes, pads one that shrinks and cuts one that grows', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    let hasChanged = false;
    const changing = watched(store, () => undefined);
    await uploadBaseBackup({
      ...uploadOptions(changing, source),
      partBytes: 64 * 1024 * 1024,
      onProgress: () => {
        if (hasChanged) return;
        hasChanged = true;
        // Between the walk and the read of the later files: synchronous, so that it happens right here.
        changeFiles(source);
      },
    }).then(async (uploaded) => completeBaseBackup(store, uploaded));
    const options = fetchOptions(store, directory.path);
    await fetchBaseBackup(options);
    const names = await readdir(join(options.into, 'pg_xact'));
    expect(names).toEqual([]);
    expect((await readFile(join(options.into, 'pg_multixact/offsets/0000'))).equals(Buffer.alloc(8192))).toBe(true);
    expect((await stat(join(options.into, 'global/1262'))).size).toBe(8192);
  });

  it('uploadBaseBackup removes what an interrupted run left behind before it starts anew', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    const abort = new AbortController();
    const aborting = uploadBaseBackup({
      ...uploadOptions(store, source),
      signal: abort.signal,
      onProgress: ({ partsDone }) => partsDone >= 3 && abort.abort(new Error('enough')),
    });
    await expect(aborting).rejects.toThrow('enough');
    const orphans = await keysOf(store, partsPrefix);
    expect(orphans.length).toBeGreaterThan(0);
    await store.put(`${partsPrefix}part_999.tar.zst`, Buffer.from('stale'));
    await completeBaseBackup(store, await uploadBaseBackup(uploadOptions(store, source)));
    expect(await keysOf(store, partsPrefix)).not.toContain(`${partsPrefix}part_999.tar.zst`);
    await fetchBaseBackup(fetchOptions(store, directory.path));
  });

  it('fetchBaseBackup puts tablespaces under the new directory and says so in tablespace_map', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    await addTablespace(source, join(directory.path, 'space'));
    const { store } = await storeIn(directory.path);
    const tablespaceMap = `16399 ${join(directory.path, 'space')}\n`;
    const uploaded = await uploadBaseBackup({ ...uploadOptions(store, source), stop: async () => ({ ...stopped, tablespaceMap }) });
    await completeBaseBackup(store, uploaded);
    const options = fetchOptions(store, directory.path);
    await fetchBaseBackup(options);
    const place = join(options.into, 'walkback_tablespaces/16399');
    expect(await readdir(place)).toEqual(['PG_16_202307071']);
    expect((await stat(join(place, 'PG_16_202307071/5/16400'))).size).toBe(16384);
    expect(await readFile(join(options.into, 'tablespace_map'), 'utf8')).toBe(`16399 ${place}\n`);
    expect(await readdir(join(options.into, 'pg_tblspc'))).toEqual([]);
    expectManifestHolds(await readFile(join(options.into, 'backup_manifest'), 'utf8'), 'tablespace_map', `16399 ${place}\n`);
  });

  it('uploadBaseBackup goes on with the parts that are not stored when it is run again after a failure, and misses no file', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    const uploads: string[] = [];
    let failsFrom = 3;
    let stopCount = 0;
    const failing = watched(store, (operation, key) => {
      if (operation !== 'upload') return;
      if (uploads.length >= failsFrom) throw new WalkbackError('STORAGE_UNREACHABLE', 'The store is away.');
      uploads.push(key.slice(partsPrefix.length));
    });
    const stop = async () => {
      stopCount += 1;
      return stopped;
    };
    // One part at a time: one that is under way when another fails is uploaded again.
    const upload = new BaseBackupUpload({ ...uploadOptions(failing, source), stop, concurrency: 1 });
    for (const nextFailsFrom of [6, 1000]) {
      await expect(upload.run()).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
      failsFrom = nextFailsFrom;
    }
    await completeBaseBackup(store, await upload.run());
    // What closes a backup is made of what is remembered, and is stored again as a whole.
    const ofFiles = uploads.filter((name) => /^(part_|pg_control)/.test(name));
    expect(new Set(ofFiles).size).toBe(ofFiles.length);
    expect(stopCount).toBe(1);
    const options = fetchOptions(store, directory.path);
    await fetchBaseBackup(options);
    const [contents, original] = [await contentsOf(options.into), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(contents[name]).toBe(original[name]);
  });

  it('uploadBaseBackup asks once more what the source is like when that failed, and stores no part again for it', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store } = await storeIn(directory.path);
    const uploads: string[] = [];
    const watching = watched(store, (operation, key) => operation === 'upload' && uploads.push(key));
    let isAway = true;
    const describeSource = async () => {
      if (isAway) throw new WalkbackError('POSTGRES_UNREACHABLE', 'The server is away.');
      return sourceRecord;
    };
    const upload = new BaseBackupUpload({ ...uploadOptions(watching, source), describeSource });
    await expect(upload.run()).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    const parts = uploads.splice(0);
    isAway = false;
    await upload.run();
    expect(parts).toContain(`${partsPrefix}part_001.tar.zst`);
    expect(uploads.filter((key) => parts.includes(key))).toEqual([]);
    expect(await readSourceRecord(store, start.name)).toEqual(sourceRecord);
  });

  it('uploadBaseBackup never takes a walk that failed for one that ended', async () => {
    await using directory = await temporaryDirectory();
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    await symlink('loop', join(source, 'base/loop'));
    const { store } = await storeIn(directory.path);
    const upload = new BaseBackupUpload(uploadOptions(store, source));
    for (const message of ['ELOOP', 'ELOOP']) await expect(upload.run()).rejects.toThrow(message);
    expect((await listBaseBackups(store)).backups).toEqual([]);
  });
});

/** The manifest describes the file as it is, and ends with the checksum of itself. */
function expectManifestHolds(manifest: string, path: string, content: string): void {
  const [body = '', checksum] = manifest.split('"Manifest-Checksum": ');
  expect(checksum).toBe(`"${createHash('sha256').update(body).digest('hex')}"}\n`);
  const { Files } = JSON.parse(manifest) as { Files: { Path: string; Size: number; Checksum: string }[] };
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32c(content));
  expect(Files.find((file) => file.Path === path)).toMatchObject({ Size: content.length, Checksum: crc.toString('hex') });
}

describe('fetchBaseBackup', () => {
  it('goes on where it stopped when it is called again after an abort', async () => {
    await using directory = await temporaryDirectory();
    const { source, store } = await archived(directory.path);
    const abort = new AbortController();
    const options = fetchOptions(store, directory.path);
    const first = fetchBaseBackup({
      ...options,
      concurrency: 1,
      signal: abort.signal,
      onProgress: ({ partsDone }) => partsDone === 3 && abort.abort(new Error('enough')),
    });
    await expect(first).rejects.toThrow('enough');
    await expect(stat(join(options.into, 'global/pg_control'))).rejects.toThrow('ENOENT');
    const fetched: string[] = [];
    const second = await fetchBaseBackup({
      ...options,
      store: watched(store, (operation, key) => operation === 'get' && key.startsWith(partsPrefix) && fetched.push(key)),
    });
    expect(second.partsAlreadyFetched).toBe(3);
    expect(fetched).toHaveLength(second.parts - 3);
    expect((await readFile(join(options.into, 'global/pg_control'))).equals(controlFile)).toBe(true);
    const [contents, original] = [await contentsOf(options.into), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(contents[name]).toBe(original[name]);
  });

  it('A7: names the object when one byte of it is flipped, whatever it is', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await archived(directory.path);
    const keys = [
      `${partsPrefix}part_001.tar.zst`,
      `${partsPrefix}pg_control.tar.zst`,
      `${partsPrefix}backup_label.tar.zst`,
      `walkback_001/backups/${start.name}.json`,
      `basebackups_005/${start.name}/files_metadata.json`,
      `basebackups_005/${start.name}_backup_stop_sentinel.json`,
    ];
    for (const [index, key] of keys.entries()) {
      const path = join(root, key);
      const positionBytes = Math.floor((await stat(path)).size / 2);
      await flipByte(path, positionBytes);
      const options = fetchOptions(store, join(directory.path, `try${index}`));
      await expect(fetchBaseBackup(options)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
      await expect(stat(join(options.into, 'global/pg_control'))).rejects.toThrow('ENOENT');
      await flipByte(path, positionBytes);
    }
    await flipByte(join(root, `basebackups_005/${start.name}/metadata.json`), 5);
    expect(await listBaseBackups(store)).toMatchObject({ backups: [], damaged: [{ name: start.name }] });
  });

  it('names the object when it is cut off, missing or does not belong', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await archived(directory.path);
    const key = `${partsPrefix}part_002.tar.zst`;
    const bytes = await readFile(join(root, key));
    const options = fetchOptions(store, directory.path);
    await writeFile(join(root, key), bytes.subarray(0, -1));
    await expect(fetchBaseBackup(options)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
    await rm(join(root, key));
    await expect(fetchBaseBackup(options)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
    await writeFile(join(root, key), bytes);
    await writeFile(join(root, `${partsPrefix}part_777.tar.zst`), bytes);
    await expect(fetchBaseBackup(options)).rejects.toMatchObject({ facts: { key: `${partsPrefix}part_777.tar.zst` } });
  });

  it('names a part by its SHA-256 where nothing in it tells that a byte is wrong', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await archived(directory.path, 'none');
    const into = join(directory.path, 'into');
    const [key = ''] = (await keysOf(store, partsPrefix)).filter((candidate) => candidate.includes('part_001'));
    const path = join(root, key);
    await flipByte(path, Math.floor((await stat(path)).size / 2));
    const reason = String.raw`part_001\.tar.* is damaged: its SHA-256 is [0-9a-f]{64} instead of [0-9a-f]{64}`;
    await expect(fetchBaseBackup(fetchOptions(store, into))).rejects.toThrow(new RegExp(reason));
    await expect(stat(join(into, 'global/pg_control'))).rejects.toThrow('ENOENT');
  });

  it('finds a cut-off part also without our manifest, as in backups that WAL-G wrote', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await archived(directory.path);
    await rm(join(root, `walkback_001/backups/${start.name}.json`));
    const key = `${partsPrefix}part_001.tar.zst`;
    const bytes = await readFile(join(root, key));
    for (const [index, stored] of [bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.from('x')])].entries()) {
      await writeFile(join(root, key), stored);
      const options = fetchOptions(store, join(directory.path, `try${index}`));
      await expect(fetchBaseBackup(options)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
    }
  });

  it('takes a part at its next try when the store fails once', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await archived(directory.path);
    const failed = new Set<string>();
    const flaky = watched(store, (operation, key) => {
      if (operation !== 'get' || !key.endsWith('part_001.tar.zst') || failed.has(key)) return;
      failed.add(key);
      throw new WalkbackError('STORAGE_UNREACHABLE', 'The store hiccups.');
    });
    await fetchBaseBackup(fetchOptions(flaky, directory.path));
    expect(failed.size).toBe(1);
  });

  it('takes every object at its next try when a byte of it changed on the way once', async () => {
    await using directory = await temporaryDirectory();
    const { store, source, root } = await archived(directory.path);
    const { troubled, reads } = damagedAtFirst(store, root);
    const options = fetchOptions(troubled, directory.path);
    await fetchBaseBackup(options);
    const [contents, original] = [await contentsOf(options.into), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(contents[name]).toBe(original[name]);
    expect((await listBaseBackups(troubled)).damaged).toEqual([]);
    // What is remembered of the parts is right too, though each was read twice.
    const again = await fetchBaseBackup(options);
    expect(again.partsAlreadyFetched).toBe(again.parts);
    expect([...reads.values()].every((count) => count >= 2)).toBe(true);
    expect([...reads.keys()].some((key) => key.endsWith('_backup_stop_sentinel.json'))).toBe(true);
  });

  it('refuses deltas without a file list, other compressions, absent backups and a state directory of another backup', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await archived(directory.path);
    const options = fetchOptions(store, directory.path);
    await expect(fetchBaseBackup({ ...options, backup: 'base_0000000100000000000000FF' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const delta = 'base_000000010000000000000009_D_000000010000000000000005';
    const sentinel = { LSN: 1, DeltaFrom: start.name, DeltaFullName: start.name, DeltaFromLSN: 1, DeltaCount: 1 };
    await store.put(`basebackups_005/${delta}_backup_stop_sentinel.json`, Buffer.from(JSON.stringify(sentinel)));
    await expect(fetchBaseBackup({ ...options, backup: delta })).rejects.toMatchObject({ code: 'ARCHIVE_FORMAT_UNSUPPORTED' });
    const other = 'base_000000010000000000000006';
    await store.put(`basebackups_005/${other}_backup_stop_sentinel.json`, Buffer.from('{"LSN":1}'));
    await store.put(`basebackups_005/${other}/tar_partitions/pg_control.tar.zip`, Buffer.from('x'));
    const elsewhere = fetchOptions(store, join(directory.path, 'elsewhere'));
    await expect(fetchBaseBackup({ ...elsewhere, backup: other })).rejects.toThrow('"zip": it cannot be decompressed');
    await fetchBaseBackup(options);
    await store.put(`basebackups_005/${other}/tar_partitions/part_001.tar.zst`, Buffer.from('x'));
    await expect(fetchBaseBackup({ ...options, backup: other })).rejects.toMatchObject({ code: 'DATA_DIRECTORY_NOT_EMPTY' });
  });
});

function changeFiles(source: string): void {
  rmSync(join(source, 'pg_xact/0000'));
  truncateSync(join(source, 'pg_multixact/offsets/0000'), 0);
  appendFileSync(join(source, 'global/1262'), Buffer.alloc(8192));
}
