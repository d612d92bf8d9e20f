import { createHash } from 'node:crypto';
import { readFile, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { tarOfContents } from '../../src/archive/push/tar-of-contents.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import {
  blockBytes,
  type ForeignBackup,
  increment,
  listOf,
  page,
  pages,
  putForeignBackup,
  tarFileSetsOf,
} from './support/foreign-backup.ts';
import { contentsOf } from './support/data-directory.ts';
import { keysOf, storeIn, temporaryDirectory, watched } from './support/temporary.ts';

const fullName = 'base_000000010000000000000002';
const firstName = 'base_000000010000000000000004_D_000000010000000000000002';
const secondName = 'base_000000010000000000000006_D_000000010000000000000004';
const label = (name: string) => ({ backup_label: Buffer.from(`label of ${name}`), tablespace_map: Buffer.from('16399 /old/place\n') });
const spec = { base_prefix: '/data', tablespaces: ['16399'], 16399: { loc: '/old/place', link: 'pg_tblspc/16399' } };
const inSpace = '/pg_tblspc/16399/PG_16_202307071/5/16400';

const full: ForeignBackup = {
  name: fullName,
  sentinel: { LSN: 100, Spec: spec },
  tars: {
    'part_001.tar': {
      '/PG_VERSION': Buffer.from('16\n'),
      '/base/5/1': pages('abcd'),
      '/base/5/2': pages('ef'),
      '/base/5/dropped': Buffer.from('gone before the delta'),
      '/base/5/3': pages('xyz'),
    },
    'part_002.tar': { [inSpace]: pages('st'), '/base/5/same': pages('uv'), '/pg_xact/0000': Buffer.from('old xact') },
    'backup_label.tar': label(fullName),
  },
  files: {},
};
const first: ForeignBackup = {
  name: firstName,
  sentinel: { LSN: 200, Spec: spec, DeltaFrom: fullName, DeltaFullName: fullName, DeltaLSN: 100, DeltaCount: 1 },
  tars: {
    'part_001.tar': {
      '/base/5/1': increment(5 * blockBytes, { 0: page('A'), 4: page('E') }),
      '/base/5/2': increment(blockBytes, {}),
      '/base/5/new': Buffer.from('came with the first delta'),
      '/pg_xact/0000': Buffer.from('newer xact'),
      '/base/5/wi1U': Buffer.from('wi1U whole, though it begins like an increment'),
    },
    'part_003.tar': { [inSpace]: increment(3 * blockBytes, { 1: page('T') }) },
    'backup_label.tar': label(firstName),
  },
  files: {
    '/base/5/1': { IsIncremented: true },
    '/base/5/2': { IsIncremented: true },
    [inSpace]: { IsIncremented: true },
    '/base/5/same': { IsSkipped: true },
    '/base/5/3': { IsSkipped: true },
    '/PG_VERSION': { IsSkipped: true },
  },
};
const second: ForeignBackup = {
  name: secondName,
  sentinel: { LSN: 300, Spec: spec, DeltaFrom: firstName, DeltaFullName: fullName, DeltaLSN: 200, DeltaCount: 2 },
  tars: {
    'part_001.tar': { '/base/5/1': increment(2 * blockBytes, { 1: page('B') }), '/base/5/3': pages('only') },
    'backup_label.tar': label(secondName),
  },
  files: {
    '/base/5/1': { IsIncremented: true },
    ...Object.fromEntries(
      ['/base/5/2', '/base/5/new', '/base/5/wi1U', '/pg_xact/0000', inSpace, '/base/5/same', '/PG_VERSION'].map((name) => [
        name,
        { IsSkipped: true },
      ]),
    ),
  },
};

/** What the second delta restores to. */
const restored: Readonly<Record<string, Buffer>> = {
  PG_VERSION: Buffer.from('16\n'),
  'base/5/1': pages('AB'),
  'base/5/2': pages('e'),
  'base/5/3': pages('only'),
  'base/5/new': Buffer.from('came with the first delta'),
  'base/5/wi1U': Buffer.from('wi1U whole, though it begins like an increment'),
  'base/5/same': pages('uv'),
  'pg_xact/0000': Buffer.from('newer xact'),
  'walkback_tablespaces/16399/PG_16_202307071/5/16400': Buffer.concat([pages('sT'), Buffer.alloc(blockBytes)]),
  'global/pg_control': Buffer.from(`control of ${secondName}`),
  backup_label: Buffer.from(`label of ${secondName}`),
};

async function chainIn(directory: string, backups: readonly ForeignBackup[] = [full, first, second]) {
  const { store } = await storeIn(directory);
  for (const backup of backups) await putForeignBackup(store, backup);
  return { store, fetch: fetchOptions(store, join(directory, 'target')) };
}

function fetchOptions(store: ObjectStore, into: string, backup = secondName) {
  return { store, backup, into, stateDirectory: join(into, 'walkback_restore') };
}

async function expectRestored(into: string, files: Readonly<Record<string, Buffer>> = restored): Promise<void> {
  for (const [name, content] of Object.entries(files)) expect([name, await readFile(join(into, name))]).toEqual([name, content]);
  const names = Object.keys(await contentsOf(into)).filter((name) => !name.endsWith('/') && !name.startsWith('walkback_restore'));
  expect(names.sort()).toEqual([...Object.keys(files), 'tablespace_map'].sort());
}

async function bytesOf(store: ObjectStore, key: string): Promise<Buffer> {
  const object = await store.get(key);
  return Buffer.concat(((await object?.body.toArray()) ?? []) as Buffer[]);
}

const keyOf = (backup: string, name: string) => `basebackups_005/${backup}/tar_partitions/${name}.tar.zst`;
const listKey = (backup: string) => `basebackups_005/${backup}/files_metadata.json`;

describe('fetchBaseBackup of a delta backup', () => {
  it('applies each delta of the chain on top of the one before, with labels, pg_control and places of the newest', async () => {
    await using directory = await temporaryDirectory();
    const { store, fetch } = await chainIn(directory.path);
    const read: string[] = [];
    const result = await fetchBaseBackup({ ...fetch, store: watched(store, (operation, key) => operation === 'get' && read.push(key)) });
    await expectRestored(fetch.into);
    expect(await readFile(join(fetch.into, 'tablespace_map'), 'utf8')).toBe(`16399 ${join(fetch.into, 'walkback_tablespaces/16399')}\n`);
    expect(result).toMatchObject({ parts: 7, partsAlreadyFetched: 0 });
    expect(read.filter((key) => /pg_control|backup_label/.test(key))).toEqual([
      keyOf(secondName, 'backup_label'),
      keyOf(secondName, 'pg_control'),
    ]);
  });

  it('restores each backup of the chain by itself', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await chainIn(directory.path);
    const into = join(directory.path, 'first');
    await fetchBaseBackup(fetchOptions(store, into, firstName));
    expect(await readFile(join(into, 'base/5/1'))).toEqual(Buffer.concat([pages('Abcd'), page('E')]));
    expect(await readFile(join(into, 'base/5/3'))).toEqual(pages('xyz'));
    await fetchBaseBackup(fetchOptions(store, join(directory.path, 'full'), fullName));
    expect(await readdir(join(directory.path, 'full/base/5'))).toContain('dropped');
  });

  it('gives the same when it is interrupted after any tar, and reads no tar twice', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await chainIn(directory.path);
    for (let stopAfter = 1; stopAfter <= 6; stopAfter += 1) {
      const options = { ...fetchOptions(store, join(directory.path, `stopped${stopAfter}`)), concurrency: 1 };
      const abort = new AbortController();
      const stopped = fetchBaseBackup({
        ...options,
        signal: abort.signal,
        onProgress: ({ partsDone }) => partsDone === stopAfter && abort.abort(new Error('enough')),
      });
      await expect(stopped).rejects.toThrow('enough');
      expect(await fetchBaseBackup(options)).toMatchObject({ parts: 7, partsAlreadyFetched: stopAfter });
      await expectRestored(options.into);
    }
  });

  it('touches no file with an increment that is damaged, so that a better read of it gives the right file', async () => {
    await using directory = await temporaryDirectory();
    const { store, fetch } = await chainIn(directory.path);
    const key = keyOf(firstName, 'part_001');
    const wrong = { ...first.tars['part_001.tar'], '/base/5/1': increment(0, {}) };
    const good = await bytesOf(store, key);
    const bad = zstdCompressSync(tarOfContents(wrong));
    await store.put(key, bad.subarray(0, -3));
    await expect(fetchBaseBackup({ ...fetch, concurrency: 1 })).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key } });
    expect((await stat(join(fetch.into, 'base/5/1'))).size).toBe(4 * blockBytes);
    await store.put(key, good);
    await fetchBaseBackup(fetch);
    await expectRestored(fetch.into);
    expect(await readdir(join(fetch.stateDirectory, 'proving'))).toEqual([]);
  });

  it('names the increments of which one byte is flipped, where our manifest says what they must be', async () => {
    await using directory = await temporaryDirectory();
    const { store, fetch } = await chainIn(directory.path);
    const objects = [];
    for (const key of await keysOf(store, `basebackups_005/${firstName}/`)) {
      const bytes = await bytesOf(store, key);
      objects.push({ key, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
    await store.put(`walkback_001/backups/${firstName}.json`, Buffer.from(JSON.stringify({ version: 1, backup: firstName, objects })));
    const key = keyOf(firstName, 'part_003');
    const flipped = Buffer.from(await bytesOf(store, key));
    flipped.writeUInt8((flipped.at(-20) ?? 0) ^ 0x01, flipped.length - 20);
    await store.put(key, flipped);
    const failed = fetchBaseBackup(fetch);
    await expect(failed).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key }, message: expect.stringContaining('SHA-256') });
    // Not a page was written over those of the full backup.
    expect(await readFile(join(fetch.into, 'walkback_tablespaces/16399/PG_16_202307071/5/16400'))).toEqual(pages('st'));
  });

  it('reads the lists that WAL-G up to 1.1 kept in the sentinel', async () => {
    await using directory = await temporaryDirectory();
    const old = [full, first, second].map((backup): ForeignBackup => {
      const { DeltaLSN, ...sentinel } = backup.sentinel;
      const embedded = { Files: listOf(backup), TarFileSets: tarFileSetsOf(backup), Version: null };
      return {
        ...backup,
        sentinel: { ...sentinel, ...(DeltaLSN === undefined ? {} : { DeltaFromLSN: DeltaLSN }), ...embedded },
        files: undefined,
      };
    });
    const { fetch } = await chainIn(directory.path, old);
    await fetchBaseBackup(fetch);
    await expectRestored(fetch.into);
  });

  it('takes nothing from a parent without a file list, as the delta then holds every file', async () => {
    await using directory = await temporaryDirectory();
    const parent: ForeignBackup = { ...full, sentinel: { LSN: 100, FilesMetadataDisabled: true }, files: undefined };
    const whole = { 'part_001.tar': { '/PG_VERSION': Buffer.from('16\n'), '/base/5/1': pages('q') }, 'backup_label.tar': label(firstName) };
    const delta: ForeignBackup = { ...first, sentinel: { ...first.sentinel, Spec: undefined }, tars: whole, files: {} };
    const { store } = await chainIn(directory.path, [parent, delta]);
    const into = join(directory.path, 'target');
    expect(await fetchBaseBackup(fetchOptions(store, into, firstName))).toMatchObject({ parts: 3 });
    await expectRestored(into, {
      PG_VERSION: Buffer.from('16\n'),
      'base/5/1': pages('q'),
      'global/pg_control': Buffer.from(`control of ${firstName}`),
      backup_label: Buffer.from(`label of ${firstName}`),
    });
  });

  it.each<[string, Partial<Record<'full' | 'first' | 'second', Partial<ForeignBackup>>>, string, string]>([
    [
      'its parent is another backup of the same name',
      { first: { sentinel: { ...first.sentinel, LSN: 201 } } },
      sentinelKeyOf(firstName),
      'starts at 0/C9',
    ],
    [
      'its chain leads to another full backup',
      { second: { sentinel: { ...second.sentinel, DeltaFullName: firstName } } },
      sentinelKeyOf(secondName),
      'its chain leads to',
    ],
    [
      'its parent does not list a file',
      { first: { files: { ...first.files, '/base/5/new': {} }, tars: { ...first.tars, 'part_001.tar': {} } } },
      listKey(firstName),
      'does not name',
    ],
    [
      'its parent has no list',
      { full: { sentinel: { ...full.sentinel, Version: null }, files: undefined } },
      listKey(fullName),
      'does not name',
    ],
    ['a list is missing', { first: { files: undefined } }, listKey(firstName), 'missing'],
    [
      'a listed part is missing',
      { full: { tarFileSets: { ...tarFileSetsOf(full), 'part_009.tar.zst': ['/base/5/1'] } } },
      keyOf(fullName, 'part_009'),
      '1 files',
    ],
    [
      'a file is in no part',
      {
        full: { files: { '/base/5/same2': {} }, tarFileSets: {} },
        first: { files: { ...first.files, '/base/5/same2': { IsSkipped: true } } },
        second: { files: { ...second.files, '/base/5/same2': { IsSkipped: true } } },
      },
      listKey(fullName),
      'base/5/same2',
    ],
    [
      'bytes are left over behind the pages',
      {
        second: {
          tars: {
            ...second.tars,
            'part_001.tar': {
              '/base/5/1': increment(2 * blockBytes, { 1: page('B') }, { extra: Buffer.from('more') }),
              '/base/5/3': pages('only'),
            },
          },
        },
      },
      keyOf(secondName, 'part_001'),
      'bytes for 1 pages',
    ],
    [
      'a page lies behind the end',
      {
        second: {
          tars: { ...second.tars, 'part_001.tar': { '/base/5/1': increment(blockBytes, { 1: page('B') }), '/base/5/3': pages('only') } },
        },
      },
      keyOf(secondName, 'part_001'),
      'behind its end',
    ],
    [
      'what should be an increment is a file',
      { second: { tars: { ...second.tars, 'part_001.tar': { '/base/5/1': pages('B'), '/base/5/3': pages('only') } } } },
      keyOf(secondName, 'part_001'),
      'increment',
    ],
  ])('refuses a chain in which %s', async (_what, changes, key, words) => {
    await using directory = await temporaryDirectory();
    const { fetch } = await chainIn(directory.path, [
      { ...full, ...changes.full },
      { ...first, ...changes.first },
      { ...second, ...changes.second },
    ]);
    const failed = fetchBaseBackup(fetch);
    await expect(failed).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key }, message: expect.stringContaining(words) });
    await expect(stat(join(fetch.into, 'global/pg_control'))).rejects.toThrow('ENOENT');
  });

  it('refuses a chain without its parent, or that has no end', async () => {
    await using directory = await temporaryDirectory();
    const { store, fetch } = await chainIn(directory.path);
    await store.delete([sentinelKeyOf(fullName)]);
    await expect(fetchBaseBackup(fetch)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key: sentinelKeyOf(fullName) } });
    await putForeignBackup(store, {
      ...full,
      sentinel: { LSN: 100, DeltaFrom: firstName, DeltaFullName: fullName, DeltaLSN: 200, DeltaCount: 3 },
    });
    await expect(fetchBaseBackup(fetch)).rejects.toThrow('has no end');
    await rm(fetch.into, { recursive: true, force: true });
  });
});

function sentinelKeyOf(name: string): string {
  return `basebackups_005/${name}_backup_stop_sentinel.json`;
}
