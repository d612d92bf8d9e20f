/** A store that is consistent only eventually lists what there was a while ago: nothing that is there counts as missing, and nothing that is gone as there. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { verifyArchive } from '../../src/archive/archive-verification.ts';
import { completeBaseBackup, sweepOrphans } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { manifestKey, tarPartitionsPrefix, walKey, walPrefix } from '../../src/archive/layout.ts';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { readWalHoldings } from '../../src/archive/wal-holdings.ts';
import type { ListedObjects } from '../../src/demo/s3-server/list-operations.ts';
import { startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import type { ObjectInfo } from '../../src/storage/object-store.ts';
import { createS3ObjectStore } from '../../src/storage/s3-object-store.ts';
import { contentsOf, keptFiles, makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { SmallArchive, smallSegment } from './support/small-archive.ts';
import { temporaryDirectory, watched } from './support/temporary.ts';
import { segmentBytes } from './support/wal.ts';

const credentials = { accessKeyId: 'lag', secretAccessKey: 'lag-secret' };
const part = (number: number): string => `${tarPartitionsPrefix(start.name)}part_${String(number).padStart(3, '0')}.tar.zst`;
const signal = new AbortController().signal;

/** A bucket whose listings can be those of a while ago. */
async function openLagging() {
  let past: ListedObjects | undefined;
  const server = await startS3Server({ ...credentials, buckets: ['archive'], quirks: { listings: () => past } });
  const store = createS3ObjectStore({ bucket: 'archive', prefix: '', endpoint: server.endpoint, credentials, forcePathStyle: true });
  return {
    store,
    /** From now on listings show what there is, but for what `change` makes of it. */
    showPast: async (change: (objects: readonly ObjectInfo[]) => readonly ObjectInfo[]) => {
      past = undefined;
      const listed: ObjectInfo[] = [];
      for await (const info of store.list('')) listed.push(info);
      const shown = new Map(change(listed).map((info) => [info.key, info]));
      const get: ListedObjects['get'] = (key) => {
        const info = shown.get(key);
        if (info === undefined) return undefined;
        return { sizeBytes: info.sizeBytes, etag: 'of-then', lastModified: info.lastModified.toISOString(), headers: {} };
      };
      past = { keys: () => [...shown.keys()].toSorted(), get };
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

async function archived(directory: string) {
  const lagging = await openLagging();
  const source = join(directory, 'source');
  await makeDataDirectory(source);
  const { store } = lagging;
  const options = { store, dataDirectory: source, compression: 'zstd', partBytes: 256 * 1024, start, stop: async () => stopped } as const;
  await completeBaseBackup(store, await uploadBaseBackup(options));
  const fetch = async (name: string) => {
    const into = join(directory, name);
    await fetchBaseBackup({ store, backup: start.name, into, stateDirectory: join(into, 'walkback_restore') });
    return await contentsOf(into);
  };
  return { lagging, store, source, fetch };
}

describe('a listing that lags behind', () => {
  it.each(['ours', 'without our manifest, as WAL-G writes it'])('hides no part from a fetch of a base backup that is %s', async (whose) => {
    await using directory = await temporaryDirectory();
    const { lagging, store, source, fetch } = await archived(directory.path);
    await using closed = lagging;
    if (whose !== 'ours') await store.delete([manifestKey(start.name)]);
    await closed.showPast((objects) => objects.filter(({ key }) => key !== part(1) && key !== part(2)));
    const [fetched, original] = [await fetch('target'), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(fetched[name]).toBe(original[name]);
  });

  it('shows a fetch no part that is gone, and none in the size that it had before it was written anew', async () => {
    await using directory = await temporaryDirectory();
    const { lagging, source, fetch } = await archived(directory.path);
    await using closed = lagging;
    await closed.showPast((objects) => [
      ...objects.map((info) => (info.key === part(1) ? { ...info, sizeBytes: info.sizeBytes + 1 } : info)),
      ...objects.filter(({ key }) => key === part(1)).map((info) => ({ ...info, key: part(9) })),
    ]);
    const [fetched, original] = [await fetch('target'), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(fetched[name]).toBe(original[name]);
  });

  it('does not make up for a part that is not there, or for one that does not belong', async () => {
    await using directory = await temporaryDirectory();
    const { lagging, store, fetch } = await archived(directory.path);
    await using closed = lagging;
    await closed.store.put(part(9), Buffer.from('not of this backup'));
    await expect(fetch('with another')).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key: part(9) } });
    await store.delete([part(9), part(2)]);
    await expect(fetch('without one')).rejects.toMatchObject({ code: 'OBJECT_DAMAGED', facts: { key: part(2) } });
  });

  it('lets verify find a base backup whole, of which a part is not listed yet', async () => {
    await using directory = await temporaryDirectory();
    await using lagging = await openLagging();
    const { store } = lagging;
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([2, 3, 4, 5]);
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:00Z' });
    const hidden = `${tarPartitionsPrefix(`base_${smallSegment(3)}`)}part_001.tar`;
    await lagging.showPast((objects) => objects.filter(({ key }) => key !== hidden));
    expect(await verifyOf(archive, 'lagging')).toMatchObject({ isSound: true, backups: 1 });
    await store.delete([hidden]);
    expect(await verifyOf(archive, 'lost')).toMatchObject({ isSound: false, findings: [{ kind: 'object-missing', key: hidden }] });
  });

  it('lets verify and a plan see WAL that is not listed yet, and the hole where there is none', async () => {
    await using directory = await temporaryDirectory();
    await using lagging = await openLagging();
    const { store } = lagging;
    const archive = new SmallArchive(store, directory.path);
    await archive.addWal([2, 3, 4, 5, 6, 7]);
    await archive.addBackup({ start: 3, finishTime: '2026-11-22T10:00:00Z' });
    const hidden = [4, 6].map((number) => walKey(smallSegment(number), 'zst'));
    await lagging.showPast((objects) => objects.filter(({ key }) => !hidden.includes(key)));
    const seen = async () => [...(await readWalHoldings(archive.openWal(), signal)).segments].toSorted();
    expect(await seen()).toEqual([2, 3, 4, 5, 6, 7].map((number) => smallSegment(number)));
    expect(await verifyOf(archive, 'lagging')).toMatchObject({ isSound: true });
    await store.delete(hidden.slice(0, 1));
    expect(await seen()).not.toContain(smallSegment(4));
    expect(await verifyOf(archive, 'holed')).toMatchObject({
      isSound: false,
      findings: [{ kind: 'wal-hole', range: { first: smallSegment(4) } }],
    });
  });

  it('leaves no part of an interrupted base backup behind that is not listed yet, whose name the next one may bear', async () => {
    await using lagging = await openLagging();
    const { store } = lagging;
    const left = [part(1), part(2), part(9), part(20), `${tarPartitionsPrefix(start.name)}pg_control.tar.zst`, manifestKey(start.name)];
    for (const key of left) await store.put(key, Buffer.from('of the interrupted one'));
    const remaining = async () => (await Promise.all(left.map((key) => store.head(key)))).filter((info) => info !== undefined);
    // As it was when five parts were there; and when nothing was.
    await lagging.showPast((objects) => objects.filter(({ key }) => key === part(1)).map((info) => ({ ...info, key: part(5) })));
    await sweepOrphans(store, start.name);
    expect(await remaining()).toEqual([]);
    for (const key of left.slice(0, 3)) await store.put(key, Buffer.from('of another interrupted one'));
    await lagging.showPast(() => []);
    await sweepOrphans(store, start.name);
    expect(await remaining()).toEqual([]);
  });

  it('asks for what is missing by its name, and for none where so much is missing that it is gone', async () => {
    await using directory = await temporaryDirectory();
    await using lagging = await openLagging();
    const archive = new SmallArchive(lagging.store, directory.path);
    await archive.addWal([2, 5]);
    const asked: string[] = [];
    const watching = watched(lagging.store, (operation, key) => operation === 'list' && key !== walPrefix && asked.push(key));
    const wal = createWalArchive(watching, { compression: 'zstd', segmentBytes });
    expect((await readWalHoldings(wal, signal)).segments.size).toBe(2);
    expect(asked.splice(0).toSorted()).toEqual([3, 4].map((number) => `${walPrefix}${smallSegment(number)}`));
    await archive.addWal([30]);
    expect((await readWalHoldings(wal, signal)).segments.size).toBe(3);
    expect(asked).toEqual([]);
  });
});

async function verifyOf({ store, openWal }: SmallArchive, id: string) {
  const options = { store, openWal, cipher: undefined, cluster: 'shop', deep: false, id, startedAt: id, holeSettlesWithinMs: 0, signal };
  return await verifyArchive({ ...options, onProgress: () => undefined });
}
