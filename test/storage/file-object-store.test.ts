/** What only a directory can be asked. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import { compareKeys } from '../../src/storage/object-key.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';

describe('createFileObjectStore', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'walkback-files-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('keeps objects under their keys, where WAL-G finds them, and nothing else beside them', async () => {
    const store = createFileObjectStore({ directory });
    await store.put('wal_005/000000010000000000000001.zst', Buffer.from('wal'), { metadata: { a: 'b' } });
    expect(await readFile(join(directory, 'wal_005/000000010000000000000001.zst'), 'utf8')).toBe('wal');
    expect(await readdir(join(directory, 'wal_005'))).toEqual(['000000010000000000000001.zst']);
    expect(await readdir(join(directory, '.walkback-tmp'))).toEqual([]);
  });

  it('removes folders that delete leaves empty, the metadata with them', async () => {
    const store = createFileObjectStore({ directory });
    await store.put('a/b/c', Buffer.from('x'), { metadata: { a: 'b' } });
    await store.delete(['a/b/c']);
    expect(await readdir(directory)).toEqual(['.walkback-tmp']);
  });

  it('gives no metadata when somebody else replaced the object', async () => {
    const store = createFileObjectStore({ directory });
    await store.put('k', Buffer.from('x'), { metadata: { sha256: 'of x' } });
    await writeFile(join(directory, 'k'), 'other content');
    expect(await store.head('k')).toMatchObject({ sizeBytes: 13, metadata: {} });
  });

  it('leaves no temporary file when an upload is refused or given up', async () => {
    const store = createFileObjectStore({ directory });
    await store.put('k', Buffer.from('x'));
    await store.put('k', Buffer.from('y'), { ifAbsent: true });
    const upload = await store.openUpload('other');
    await upload.write(Buffer.from('half'));
    await upload.abort();
    await expect(store.put('k/below', Buffer.from('z'))).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    expect(await readdir(join(directory, '.walkback-tmp'))).toEqual([]);
  });

  it('put succeeds while the folder comes and goes', async () => {
    const store = createFileObjectStore({ directory });
    const put = async (name: string): Promise<void> => {
      for (let count = 0; count < 50; count++) {
        await store.put(`folder/${name}`, Buffer.from(name));
        await store.delete([`folder/${name}`]);
      }
    };
    await Promise.all(['a', 'b', 'c'].map(put));
    await store.put('folder/last', Buffer.from('x'));
    expect(await store.head('folder/last')).toBeDefined();
  });

  it('keeps its own folders for itself', async () => {
    const store = createFileObjectStore({ directory });
    await expect(store.put('.walkback-tmp/x', Buffer.from('x'))).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await expect(store.get('walkback_001/metadata/x.json')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await mkdir(join(directory, 'walkback_001'));
    await store.put('walkback_001/manifest', Buffer.from('x'), { metadata: { a: 'b' } });
    const keys: string[] = [];
    for await (const { key } of store.list('')) keys.push(key);
    expect(keys).toEqual(['walkback_001/manifest']);
  });
});

describe('openObjectStore', () => {
  it.each([
    ['s3://bucket', 's3://bucket'],
    ['s3://bucket/', 's3://bucket'],
    ['s3://bucket/a/b/', 's3://bucket/a/b'],
    ['file:///srv/archive', 'file:///srv/archive'],
    ['file://localhost/srv/archive', 'file:///srv/archive'],
    ['/srv/archive', 'file:///srv/archive'],
  ])('opens %s as %s', (url, expected) => {
    expect(openObjectStore(url, {}).url).toBe(expected);
  });

  it.each([
    '',
    'bucket',
    's3://',
    's3:///prefix',
    's3://b',
    's3://bucket//a',
    's3://bucket/a/../b',
    'gs://bucket/x',
    'file://host/x',
    's3://k:s@bucket/x',
  ])('says INVALID_CONFIGURATION to %j', (url) => {
    expect(() => openObjectStore(url, {})).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }) as Error);
  });

  it.each([{ endpoint: 'localhost:9000' }, { partBytes: 1024 }, { uploadConcurrency: 0 }])(
    'says INVALID_CONFIGURATION to the settings %o',
    (settings) => {
      expect(() => openObjectStore('s3://bucket', settings)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }) as Error);
    },
  );
});

describe('compareKeys', () => {
  it('orders as the UTF-8 bytes do', () => {
    const key = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(key, key, (left, right) => {
        expect(Math.sign(compareKeys(left, right))).toBe(Buffer.compare(Buffer.from(left), Buffer.from(right)));
      }),
    );
  });
});
