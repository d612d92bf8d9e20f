/** What S3ObjectStore makes of stores that are not quite S3, for good. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import type { S3Quirks } from '../../src/demo/s3-server/quirks.ts';
import { type S3Server, startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import type { StoreCapabilities } from '../../src/domain/store-capabilities.ts';
import { probeCapabilities } from '../../src/storage/capability-probe.ts';
import { capabilitiesKey, probeAndRecord, readRecordedCapabilities, recordCapabilities } from '../../src/storage/capability-record.ts';
import { type ObjectStore, readObject } from '../../src/storage/object-store.ts';
import { createS3ObjectStore } from '../../src/storage/s3-object-store.ts';
import { temporaryDirectory } from '../harness/temp.ts';

const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
const partBytes = 5 * 1024 * 1024;
const maximumBytes = 64 * 1024 * 1024;
const probedAt = '2026-11-26T12:00:00Z';
const asS3: StoreCapabilities = { conditionalPut: true, checksums: 'enforced', delimiterListing: true, rangedRead: true, metadata: true };

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

interface Scene {
  readonly server: S3Server;
  readonly store: ObjectStore;
  /** As another process would open it. */
  readonly openAnother: () => ObjectStore;
}

async function startWith(quirks: S3Quirks): Promise<Scene> {
  const server = stack.use(await startS3Server({ ...credentials, buckets: ['b'], quirks }));
  const openAnother = () => stack.use(createS3ObjectStore({ bucket: 'b', prefix: 'p', endpoint: server.endpoint, credentials, partBytes }));
  return { server, store: openAnother(), openAnother };
}

describe('probeCapabilities', () => {
  it.each<[S3Quirks, Partial<StoreCapabilities>]>([
    [{}, {}],
    [{ conditions: 'ignored' }, { conditionalPut: false }],
    [{ conditions: 'refused' }, { conditionalPut: false }],
    [{ checksums: 'ignored' }, { checksums: 'ignored' }],
    [{ checksums: 'refused', deletes: 'content-md5' }, { checksums: 'refused' }],
    [{ delimiter: 'ignored' }, { delimiterListing: false }],
    [{ delimiter: 'refused' }, { delimiterListing: false }],
    [{ ranges: 'ignored' }, { rangedRead: false }],
    [{ metadata: 'lost' }, { metadata: false }],
  ])('finds out about a store with %o, leaves nothing, and finds the same when it knows already', async (quirks, difference) => {
    const { store } = await startWith(quirks);
    const found = await probeCapabilities(store);
    expect(found).toEqual({ ...asS3, ...difference });
    expect(await keysOf(store.list(''))).toEqual([]);
    await recordCapabilities(store, found, { probedAt });
    await store.put('k', Buffer.from('x'), { ifAbsent: true });
    expect(await probeCapabilities(store)).toEqual(found);
  });
});

describe('S3ObjectStore', () => {
  it.each(['ignored', 'refused'] as const)(
    'keeps what is there when conditions are %s, once the probe has written that down',
    async (how) => {
      const { store, openAnother, server } = await startWith({ conditions: how });
      await recordCapabilities(store, await probeCapabilities(store), { probedAt });
      const other = openAnother();
      expect(await other.put('k', Buffer.from('first'), { ifAbsent: true })).toMatchObject({ key: 'k' });
      const putsBefore = server.requests.get('PutObject');
      expect(await other.put('k', Buffer.from('second'), { ifAbsent: true })).toBe('exists');
      expect(await store.put('k', Buffer.from('third'), { ifAbsent: true })).toBe('exists');
      expect(server.requests.get('PutObject')).toBe(putsBefore);
      expect((await readObject(store, 'k', { maximumBytes }))?.toString()).toBe('first');
    },
  );

  it('finds out by itself that conditions are refused, and asks only once', async () => {
    const { store, server } = await startWith({ conditions: 'refused' });
    expect(await store.put('k', Buffer.from('first'), { ifAbsent: true })).toMatchObject({ key: 'k' });
    expect(await store.put('k', Buffer.from('second'), { ifAbsent: true })).toBe('exists');
    const before = server.requests.get('PutObject') ?? 0;
    await store.put('l', Buffer.from('x'), { ifAbsent: true });
    expect(server.requests.get('PutObject')).toBe(before + 1);
  });

  it('a WAL segment of other content is refused by a store that ignores conditions too', async () => {
    await using directory = await temporaryDirectory('quirks');
    const { store, openAnother } = await startWith({ conditions: 'ignored' });
    await probeAndRecord(store);
    const archive = createWalArchive(openAnother(), { compression: 'none', segmentBytes: 16 * 1024 * 1024 });
    const name = '00000002.history';
    const push = async (text: string) => {
      await writeFile(directory.join(name), text);
      return await archive.push({ name, path: directory.join(name), systemIdentifier: undefined });
    };
    expect(await push('1\t0/3000000\tone\n')).toBe('stored');
    expect(await push('1\t0/3000000\tone\n')).toBe('already-stored');
    await expect(push('1\t0/4000000\tother\n')).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
  });

  it('writes, uploads in parts, reads and removes without checksums where they are refused, and remembers', async () => {
    const { store, server } = await startWith({ checksums: 'refused', deletes: 'content-md5' });
    const content = randomBytes(3 * 1024 * 1024);
    const upload = await store.openUpload('large');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.complete();
    expect((await readObject(store, 'large', { maximumBytes }))?.length).toBe(4 * content.length);
    await store.put('small', content, { ifAbsent: true });
    expect((await readObject(store, 'small', { maximumBytes }))?.equals(content)).toBe(true);
    await store.delete(['large', 'small']);
    await store.delete(['large', 'small']);
    const { requests } = server;
    expect(
      ['CreateMultipartUpload', 'PutObject', 'DeleteObjects', 'DeleteObject'].map(
        (name) => [...requests].find(([one]) => one === name)?.[1],
      ),
    ).toEqual([2, 1, 3, undefined]);
  });

  it('hashes payloads for the signature once a policy forbids unsigned ones, and remembers', async () => {
    const { store, server } = await startWith({ unsignedPayloads: 'forbidden' });
    await store.put('k', Buffer.from('x'), { ifAbsent: true });
    await store.put('l', Buffer.from('x'));
    expect(server.requests.get('PutObject')).toBe(3);
    expect((await readObject(store, 'l', { maximumBytes }))?.toString()).toBe('x');
    const upload = await store.openUpload('m');
    for (let count = 0; count < 3; count++) await upload.write(randomBytes(partBytes));
    await upload.complete();
    expect(server.requests.get('UploadPart')).toBe(3);
  });

  it.each(['ignored', 'refused'] as const)('lists what it should when the delimiter is %s', async (delimiter) => {
    const { store } = await startWith({ delimiter });
    for (const key of ['f/a', 'f/b', 'f/deeper/c', 'g']) await store.put(key, Buffer.from('x'));
    expect(await keysOf(store.list('f/', { shallow: true }))).toEqual(['f/a', 'f/b']);
    expect(await keysOf(store.list('f/'))).toEqual(['f/a', 'f/b', 'f/deeper/c']);
    expect(await keysOf(store.list('', { shallow: true }))).toEqual(['g']);
  });

  it('takes up a broken body from its beginning when ranges are ignored', async () => {
    const { store, server } = await startWith({ ranges: 'ignored' });
    const content = randomBytes(1024 * 1024);
    await store.put('k', content);
    server.faults = ({ operation, attempt }) =>
      operation === 'GetObject' && attempt === 1 ? { kind: 'reset-mid-body', afterBytes: 600_000 } : undefined;
    expect((await readObject(store, 'k', { maximumBytes }))?.equals(content)).toBe(true);
    expect(server.requests.get('GetObject')).toBe(2);
  });

  it('believes a 404 for what it has just written only after asking again; another process is told at once', async () => {
    const { store, server, openAnother } = await startWith({});
    await store.put('k', Buffer.from('x'));
    server.faults = ({ operation, attempt }) =>
      (operation === 'GetObject' && attempt <= 2) || (operation === 'HeadObject' && attempt === 1)
        ? { kind: 'error', code: 'NoSuchKey' }
        : undefined;
    expect((await readObject(store, 'k', { maximumBytes }))?.toString()).toBe('x');
    expect(server.requests.get('GetObject')).toBe(3);
    server.faults = ({ operation, key }) =>
      operation === 'GetObject' && key === 'p/absent' ? { kind: 'error', code: 'NoSuchKey' } : undefined;
    expect(await openAnother().get('absent')).toBeUndefined();
    expect(server.requests.get('GetObject')).toBe(4);
    await store.delete(['k']);
    expect(await store.get('k')).toBeUndefined();
    expect(server.requests.get('GetObject')).toBe(5);
  });
});

describe('the record of the probe', () => {
  it('is read once a process, and only for conditional writes', async () => {
    const { store, server } = await startWith({});
    await store.put('a', Buffer.from('x'));
    expect(server.requests.get('GetObject')).toBeUndefined();
    for (const key of ['b', 'c', 'd']) await store.put(key, Buffer.from('x'), { ifAbsent: true });
    expect(server.requests.get('GetObject')).toBe(1);
    expect(server.requests.get('PutObject')).toBe(4);
  });

  it('that is damaged stops conditional writes, and says how to replace it', async () => {
    const { store } = await startWith({});
    await store.put(capabilitiesKey, Buffer.from('{"version":1}'));
    await expect(store.put('k', Buffer.from('x'), { ifAbsent: true })).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      hint: /walkback probe/,
    });
    await recordCapabilities(store, await probeCapabilities(store), { probedAt });
    expect(await readRecordedCapabilities(store)).toEqual({ version: 1, probedAt, ...asS3 });
    expect(await store.put('k', Buffer.from('x'), { ifAbsent: true })).toMatchObject({ key: 'k' });
  });
});

async function keysOf(objects: AsyncIterable<{ readonly key: string }>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of objects) keys.push(key);
  return keys;
}
