/** One suite for every ObjectStore on everything that can be found. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { probeCapabilities } from '../../src/storage/capability-probe.ts';
import { readObject } from '../../src/storage/object-store.ts';
import type { ObjectInfo, ObjectStore } from '../../src/storage/object-store.ts';
import { storeKinds } from './stores.ts';
import type { StoreUnderTest } from './stores.ts';

const mebibyteBytes = 1024 * 1024;
const smallPartBytes = 5 * mebibyteBytes;
const maximumBytes = 64 * mebibyteBytes;

for (const kind of storeKinds) {
  if (kind.missing !== undefined) process.stderr.write(`\nNOT TESTED: conformance on ${kind.name} (${kind.missing})\n\n`);
  describe.skipIf(kind.missing !== undefined)(`ObjectStore on ${kind.name}`, () => {
    let underTest: StoreUnderTest;
    let store: ObjectStore;
    let folderCount = 0;
    /** A folder of its own for each case: the store is shared. */
    const newFolder = (): string => `case_${++folderCount}`;

    beforeAll(async () => {
      underTest = await kind.start();
      store = underTest.open('conformance', { partBytes: smallPartBytes });
    });
    afterAll(async () => {
      await store[Symbol.asyncDispose]();
      await underTest[Symbol.asyncDispose]();
    });

    it('get returns what put wrote, with size, tag and metadata', async () => {
      const key = `${newFolder()}/object`;
      const metadata = { 'walkback-sha256': 'abc', note: 'two words' };
      const written = await store.put(key, Buffer.from('hello'), { metadata });
      const object = await store.get(key);
      expect(written).toMatchObject({ key, sizeBytes: 5, metadata });
      expect(await textOf(store, key)).toBe('hello');
      expect(object?.info).toMatchObject({ key, sizeBytes: 5, metadata });
      object?.body.destroy();
      expect(await store.head(key)).toMatchObject({ key, sizeBytes: 5, metadata, etag: written === 'exists' ? '' : written.etag });
    });

    it('put replaces content and metadata', async () => {
      const key = `${newFolder()}/object`;
      await store.put(key, Buffer.from('first'), { metadata: { version: '1' } });
      await store.put(key, Buffer.from('second one'));
      expect(await textOf(store, key)).toBe('second one');
      expect(await store.head(key)).toMatchObject({ sizeBytes: 10, metadata: {} });
    });

    it('put keeps an empty object', async () => {
      const key = `${newFolder()}/empty`;
      await store.put(key, Buffer.alloc(0));
      expect(await store.head(key)).toMatchObject({ sizeBytes: 0 });
      expect(await textOf(store, key)).toBe('');
    });

    it('get and head say undefined when the object is absent', async () => {
      const folder = newFolder();
      await store.put(`${folder}/present`, Buffer.from('x'));
      expect(await store.get(`${folder}/absent`)).toBeUndefined();
      expect(await store.head(`${folder}/absent`)).toBeUndefined();
      expect(await store.head(folder)).toBeUndefined();
      expect(await store.head(`${folder}/present/below`)).toBeUndefined();
      expect(await namesOf(store.list(`${folder}/absent/`))).toEqual([]);
    });

    it('every method says STORAGE_UNREACHABLE when nothing is there, and never "absent"', async () => {
      await using unreachable = underTest.openUnreachable();
      const expected = { code: 'STORAGE_UNREACHABLE', retryable: true };
      await expect(unreachable.get('k')).rejects.toMatchObject(expected);
      await expect(unreachable.head('k')).rejects.toMatchObject(expected);
      await expect(unreachable.put('k', Buffer.from('x'))).rejects.toMatchObject(expected);
      await expect(namesOf(unreachable.list(''))).rejects.toMatchObject(expected);
    });

    it.skipIf(kind.limits.open)('every method says STORAGE_ACCESS_DENIED when the secret is wrong', async () => {
      await using denied = underTest.open('conformance', { credentials: { accessKeyId: 'walkback-test', secretAccessKey: 'wrong' } });
      const expected = { code: 'STORAGE_ACCESS_DENIED', retryable: false };
      await expect(denied.get('k')).rejects.toMatchObject(expected);
      await expect(denied.head('k')).rejects.toMatchObject(expected);
      await expect(denied.put('k', Buffer.from('x'))).rejects.toMatchObject(expected);
      await expect(namesOf(denied.list(''))).rejects.toMatchObject(expected);
      await expect(denied.delete(['k'])).rejects.toMatchObject(expected);
    });

    it.skipIf(kind.limits.open)('every method says INVALID_CONFIGURATION when there is no such bucket', async () => {
      await using lost = underTest.openMissingBucket();
      const expected = { code: 'INVALID_CONFIGURATION' };
      await expect(lost.get('k')).rejects.toMatchObject(expected);
      await expect(lost.head('k')).rejects.toMatchObject(expected);
      await expect(lost.put('k', Buffer.from('x'))).rejects.toMatchObject(expected);
    });

    it('get reads a range, clamps its end, and refuses one beyond the end', async () => {
      const key = `${newFolder()}/object`;
      await store.put(key, Buffer.from('0123456789'));
      expect(await textOf(store, key, { startBytes: 2, endBytes: 5 })).toBe('234');
      expect(await textOf(store, key, { startBytes: 7 })).toBe('789');
      expect(await textOf(store, key, { startBytes: 7, endBytes: 100 })).toBe('789');
      const ranged = await store.get(key, { range: { startBytes: 2, endBytes: 5 } });
      expect(ranged?.info.sizeBytes).toBe(10);
      ranged?.body.destroy();
      await expect(store.get(key, { range: { startBytes: 10 } })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
      await expect(store.get(key, { range: { startBytes: 3, endBytes: 3 } })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    });

    it('put with ifAbsent has exactly one winner when 20 race', async () => {
      const key = `${newFolder()}/contested`;
      const racers = Array.from({ length: 20 }, (_, racer) =>
        store.put(key, Buffer.from(`racer ${racer}`), { ifAbsent: true, metadata: { racer: `${racer}` } }),
      );
      const outcomes = await Promise.all(racers);
      const winners = outcomes.flatMap((outcome, racer) => (outcome === 'exists' ? [] : [racer]));
      expect(winners).toHaveLength(1);
      expect(await textOf(store, key)).toBe(`racer ${winners[0]}`);
      expect((await store.head(key))?.metadata).toEqual({ racer: `${winners[0]}` });
      expect(await store.put(key, Buffer.from('late'), { ifAbsent: true })).toBe('exists');
    });

    it('list gives every object over several pages in the order of UTF-8 bytes', async () => {
      const folder = newFolder();
      const keys = Array.from({ length: 1203 }, (_, index) => `${folder}/${(index * 7919) % 1203}`);
      await inParallel(keys, (key) => store.put(key, Buffer.from('x')));
      expect(await namesOf(store.list(`${folder}/`))).toEqual(keys.toSorted());
      const listed = await first(store.list(`${folder}/`));
      expect(listed).toMatchObject({ sizeBytes: 1 });
      expect(Math.abs(Date.now() - (listed?.lastModified.getTime() ?? 0))).toBeLessThan(120_000);
      await store.delete(keys);
      expect(await namesOf(store.list(`${folder}/`))).toEqual([]);
    });

    it('list takes any beginning of a key, and with shallow leaves out what lies deeper', async () => {
      const folder = newFolder();
      const keys = ['a-b', 'a.b', 'a/1', 'a/2/x', 'ab', 'b', 'é', 'ｅ', '𝒆'].map((name) => `${folder}/${name}`);
      await inParallel(keys, (key) => store.put(key, Buffer.from('x')));
      const below = async (prefix: string, shallow = false): Promise<string[]> =>
        (await namesOf(store.list(`${folder}/${prefix}`, { shallow }))).map((key) => key.slice(folder.length + 1));
      expect(await below('')).toEqual(['a-b', 'a.b', 'a/1', 'a/2/x', 'ab', 'b', 'é', 'ｅ', '𝒆']);
      expect(await below('', true)).toEqual(['a-b', 'a.b', 'ab', 'b', 'é', 'ｅ', '𝒆']);
      expect(await below('a')).toEqual(['a-b', 'a.b', 'a/1', 'a/2/x', 'ab']);
      expect(await below('a', true)).toEqual(['a-b', 'a.b', 'ab']);
      expect(await below('a/', true)).toEqual(['a/1']);
      expect(await below('a/2/')).toEqual(['a/2/x']);
    });

    it.skipIf(kind.limits.hierarchical)('keeps a key beside another key below it', async () => {
      const folder = newFolder();
      await store.put(`${folder}/k`, Buffer.from('parent'));
      await store.put(`${folder}/k/child`, Buffer.from('child'));
      expect(await namesOf(store.list(`${folder}/`))).toEqual([`${folder}/k`, `${folder}/k/child`]);
    });

    it('keeps odd keys apart and unchanged', async () => {
      const folder = newFolder();
      const names = [
        'with blank',
        'a+b',
        'a%2Bb',
        '100%',
        `quote'"`,
        '<&>',
        'ünïcödé',
        '日本',
        'a=b&c=d',
        '~tilde',
        'star*',
        '(1)!',
        'dot.',
        '#hash?q',
        'semi;colon',
      ];
      for (const name of names) await store.put(`${folder}/${name}`, Buffer.from(name));
      for (const name of names) expect(await textOf(store, `${folder}/${name}`)).toBe(name);
      expect(new Set(await namesOf(store.list(`${folder}/`)))).toEqual(new Set(names.map((name) => `${folder}/${name}`)));
      await store.delete(names.map((name) => `${folder}/${name}`));
      expect(await namesOf(store.list(`${folder}/`))).toEqual([]);
    });

    it.each(['', '/a', 'a/', 'a//b', 'a/../b', '..', './a', 'a\nb', `${'long/'.repeat(300)}x`])('refuses the key %j', async (key) => {
      await expect(store.put(key, Buffer.from('x'))).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    });

    it.each<Record<string, string>>([
      { Upper: 'x' },
      { name: 'ümlaut' },
      { name: ' blank' },
      { name: 'line\nbreak' },
      { name: 'x'.repeat(2048) },
    ])('refuses the metadata %j', async (metadata) => {
      await expect(store.put('k', Buffer.from('x'), { metadata })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    });

    it('delete is content with keys that are absent', async () => {
      const folder = newFolder();
      await store.put(`${folder}/x/y`, Buffer.from('x'));
      await store.delete([`${folder}/absent`, `${folder}/x/y`, `${folder}/x/y`]);
      await store.delete([]);
      expect(await namesOf(store.list(folder))).toEqual([]);
      await store.put(`${folder}/x`, Buffer.from('a key where a folder was'));
    });

    it.each([0, 1, smallPartBytes - 1, smallPartBytes, smallPartBytes + 1, 3 * smallPartBytes + 12_345])(
      'openUpload keeps %d bytes that come in odd pieces',
      async (sizeBytes) => {
        const key = `${newFolder()}/uploaded`;
        const bytes = randomBytes(sizeBytes);
        const upload = await store.openUpload(key, { metadata: { kind: 'tar' } });
        for (let at = 0; at < sizeBytes; at += 700_001) await upload.write(Buffer.from(bytes.subarray(at, at + 700_001)));
        expect(await store.head(key)).toBeUndefined();
        expect(await upload.complete()).toMatchObject({ key, sizeBytes });
        await upload.abort();
        expect(await store.head(key)).toMatchObject({ sizeBytes, metadata: { kind: 'tar' } });
        const read = await readObject(store, key, { maximumBytes });
        expect(sha256(read ?? Buffer.alloc(0))).toBe(sha256(bytes));
      },
    );

    it.each([1, 2 * smallPartBytes + 1])(
      'an upload of %d bytes that was flushed is completed after the signal that it was opened with',
      async (sizeBytes) => {
        const key = `${newFolder()}/flushed`;
        const opened = new AbortController();
        const upload = await store.openUpload(key, { signal: opened.signal });
        await upload.write(randomBytes(sizeBytes));
        await upload.flush();
        await upload.flush();
        opened.abort(new Error('enough'));
        expect(await upload.complete(new AbortController().signal)).toMatchObject({ key, sizeBytes });
        expect(await store.head(key)).toMatchObject({ sizeBytes });
      },
    );

    it('an upload that was flushed and is aborted leaves nothing that could be completed', async () => {
      const key = `${newFolder()}/flushed`;
      const upload = await store.openUpload(key);
      await upload.write(randomBytes(2 * smallPartBytes));
      await upload.flush();
      await upload.abort();
      await expect(upload.complete()).rejects.toThrow(/./);
      expect(await store.head(key)).toBeUndefined();
    });

    it('abort leaves nothing behind', async () => {
      const key = `${newFolder()}/aborted`;
      const upload = await store.openUpload(key);
      await upload.write(randomBytes(3 * smallPartBytes));
      await upload.abort();
      await upload.abort();
      await expect(upload.write(Buffer.from('more'))).rejects.toThrow(/./);
      await expect(upload.complete()).rejects.toThrow(/./);
      expect(await store.head(key)).toBeUndefined();
    });

    it('every method says CANCELLED when its signal is set', async () => {
      const key = `${newFolder()}/object`;
      await store.put(key, Buffer.from('x'));
      const signal = AbortSignal.abort(new Error('enough'));
      const expected = { code: 'CANCELLED' };
      await expect(store.get(key, { signal })).rejects.toMatchObject(expected);
      await expect(store.head(key, { signal })).rejects.toMatchObject(expected);
      await expect(store.put(key, Buffer.from('y'), { signal })).rejects.toMatchObject(expected);
      await expect(namesOf(store.list(key, { signal }))).rejects.toMatchObject(expected);
      expect(await textOf(store, key)).toBe('x');
    });

    it('a body ends with CANCELLED when its signal is set midway', async () => {
      const key = `${newFolder()}/large`;
      await store.put(key, randomBytes(8 * mebibyteBytes));
      const controller = new AbortController();
      const object = await store.get(key, { signal: controller.signal });
      const read = async (): Promise<void> => {
        for await (const chunk of object!.body as AsyncIterable<Buffer>) if (chunk.length > 0) controller.abort();
      };
      await expect(read()).rejects.toMatchObject({ code: 'CANCELLED' });
    });

    it('probeCapabilities finds all that is needed and leaves nothing', async () => {
      expect(await probeCapabilities(store)).toMatchObject({
        conditionalPut: true,
        delimiterListing: true,
        rangedRead: true,
        metadata: true,
      });
      expect(await namesOf(store.list('walkback_001/'))).toEqual([]);
    });
  });
}

async function textOf(store: ObjectStore, key: string, range?: { startBytes: number; endBytes?: number }): Promise<string | undefined> {
  const object = await store.get(key, range === undefined ? {} : { range });
  if (object === undefined) return undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of object.body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function namesOf(objects: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const names: string[] = [];
  for await (const { key } of objects) names.push(key);
  return names;
}

async function first(objects: AsyncIterable<ObjectInfo>): Promise<ObjectInfo | undefined> {
  for await (const object of objects) return object;
  return undefined;
}

async function inParallel(keys: readonly string[], work: (key: string) => Promise<unknown>): Promise<void> {
  const waiting = keys.values();
  const worker = async (): Promise<void> => {
    for (const key of waiting) await work(key);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
