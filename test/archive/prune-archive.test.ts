import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import { backupPrefix, manifestKey, metadataKey, removalMarkKey, sentinelKey, walKey } from '../../src/archive/layout.ts';
import { markBackup } from '../../src/archive/backup-mark.ts';
import { pruneArchive, type PruneArchiveOptions } from '../../src/archive/prune-archive.ts';
import { claimBackup, listRemovalMarks } from '../../src/archive/restore-claims.ts';
import { verifyArchive } from '../../src/archive/archive-verification.ts';
import { startLocalS3, type LocalS3 } from '../../src/demo/local-services/local-s3.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { runWalG, walG } from '../harness/wal-g.ts';
import { nameOf, SmallArchive, type SmallBackup, smallSegment } from './support/small-archive.ts';
import { keysOf, storeIn, temporaryDirectory } from './support/temporary.ts';

const signal = new AbortController().signal;
const on = (day: number) => `2026-11-${String(day).padStart(2, '0')}T10:00:00Z`;
const first: SmallBackup = { start: 2, finishTime: on(1) };
const firstDelta: SmallBackup = { start: 4, finishTime: on(2), parent: first };
const second: SmallBackup = { start: 6, finish: 7, finishTime: on(3) };
const third: SmallBackup = { start: 9, finishTime: on(4) };
const all = [first, firstDelta, second, third];

/** Three full backups and a delta, with segments 1 to 11. */
async function fill(store: ObjectStore, directory: string): Promise<SmallArchive> {
  const archive = new SmallArchive(store, directory);
  await archive.addWal(Array.from({ length: 11 }, (_, index) => index + 1));
  await archive.addHistory(2, '1\t0/B00100\tno recovery target specified\n');
  for (const story of all) await archive.addBackup(story);
  return archive;
}

type Wanted = Partial<Omit<PruneArchiveOptions, 'store' | 'openWal' | 'cipher' | 'cluster' | 'signal'>>;

function prune({ store, openWal }: Pick<SmallArchive, 'store' | 'openWal'>, wanted: Wanted = {}) {
  return pruneArchive({
    store,
    openWal,
    cipher: undefined,
    cluster: 'shop',
    rules: { keepFull: 1 },
    now: parseInstant(on(5)),
    confirm: true,
    allowEmpty: false,
    ignoreDamaged: false,
    isRestoreRunning: async () => true,
    isBackupRunning: async () => false,
    onProgress: () => undefined,
    signal,
    ...wanted,
  });
}

const namesIn = async (store: ObjectStore) => (await listBaseBackups(store)).backups.map(({ name }) => name).toSorted();
const segmentsIn = async (store: ObjectStore) =>
  (await keysOf(store, 'wal_005/0000000100')).map((key) => Number.parseInt(key.slice(24, 32), 16));
const sorted = (stories: readonly SmallBackup[]) => stories.map(nameOf).toSorted();

async function isSound({ store, openWal }: SmallArchive): Promise<boolean> {
  const options = { store, openWal, cipher: undefined, cluster: 'shop', deep: true, startedAt: on(6), holeSettlesWithinMs: 0, signal };
  return (await verifyArchive({ ...options, id: crypto.randomUUID(), onProgress: () => undefined })).isSound;
}

let s3: LocalS3;
beforeAll(async () => {
  s3 = await startLocalS3({});
});
afterAll(() => s3?.close());

describe('pruneArchive', () => {
  it.each(['a directory', 'S3'])(
    'pruneArchive removes in %s what is not kept and nothing else, and a dry run said so before',
    async (kind) => {
      await using directory = await temporaryDirectory();
      await using store = kind === 'S3' ? openObjectStore(s3.url(crypto.randomUUID()), s3.settings) : (await storeIn(directory.path)).store;
      const archive = await fill(store, directory.path);
      const before = await keysOf(store, '');
      const dry = await prune(archive, { confirm: false });
      expect(await keysOf(store, '')).toEqual(before);
      expect(dry).toMatchObject({ confirmed: false, reportKey: null, walFrom: smallSegment(9).slice(8) });
      expect(dry.keep.map(({ backup }) => backup)).toEqual([nameOf(third)]);
      expect(dry.remove.map(({ backup }) => backup)).toEqual(sorted([first, firstDelta, second]).toSorted());
      expect(dry.wal).toMatchObject({ files: 8, ranges: [{ first: smallSegment(1), last: smallSegment(8), count: 8 }] });

      const done = await prune(archive);
      expect(done).toMatchObject({ confirmed: true, remove: dry.remove, wal: dry.wal, objects: dry.objects, bytes: dry.bytes });
      expect(await namesIn(store)).toEqual([nameOf(third)]);
      expect(await segmentsIn(store)).toEqual([9, 10, 11]);
      const left = await keysOf(store, '');
      expect(
        left.filter((key) =>
          [first, firstDelta, second].some((story) => key.includes(`${nameOf(story)}/`) || key.includes(`${nameOf(story)}.`)),
        ),
      ).toEqual([]);
      expect(left).toContain('wal_005/00000002.history.zst');
      expect(left).toContain(done.reportKey);
      expect(await isSound(archive)).toBe(true);
      expect(await prune(archive)).toMatchObject({ objects: 0, remove: [], wal: { files: 0 } });
    },
  );

  it('pruneArchive can be interrupted at each single removal, and run again it ends the same, with nothing needed lost on the way', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await fill(store, directory.path);
    let removals = 0;
    for (let stopAt = 1; ; stopAt += 1) {
      await using each = await temporaryDirectory();
      const archive = await fill((await storeIn(each.path)).store, each.path);
      removals = 0;
      const dying: ObjectStore = {
        ...bound(archive.store),
        delete: async (keys) => {
          removals += 1;
          // Half of what was asked for is gone when the process dies.
          if (removals === stopAt) await archive.store.delete(keys.slice(0, Math.ceil(keys.length / 2)));
          if (removals >= stopAt) throw new Error('killed');
          await archive.store.delete(keys);
        },
      };
      const outcome = await prune({ store: dying, openWal: archive.openWal }).then(
        () => 'done',
        (error: Error) => error.message,
      );
      expect(await isSound(archive)).toBe(true);
      expect(await namesIn(archive.store)).toContain(nameOf(third));
      await prune(archive);
      expect(await keysOf(archive.store, 'basebackups_005/')).toEqual(
        (await keysOf(archive.store, 'basebackups_005/')).filter((key) => key.includes(nameOf(third))),
      );
      expect(await segmentsIn(archive.store)).toEqual([9, 10, 11]);
      expect(await listRemovalMarks(archive.store, signal)).toEqual(new Set());
      if (outcome === 'done') break;
    }
    expect(removals).toBeGreaterThan(6);
  });

  it('pruneArchive leaves a backup alone that a running restore has claimed, and removes the claim of one that has ended', async () => {
    await using directory = await temporaryDirectory();
    const archive = await fill((await storeIn(directory.path)).store, directory.path);
    const { store } = archive;
    const claim = { restoreId: 'restore/db-1/srv/x', namespace: 'default', backup: nameOf(second), claimedAt: on(5) };
    await claimBackup(store, claim, signal);
    const report = await prune(archive);
    expect(report.claims).toEqual([{ restore: claim.restoreId, backup: nameOf(second) }]);
    expect(await namesIn(store)).toEqual(sorted([second, third]));
    expect(await segmentsIn(store)).toEqual([6, 7, 8, 9, 10, 11]);
    await prune(archive, { isRestoreRunning: async () => false });
    expect(await namesIn(store)).toEqual([nameOf(third)]);
    expect(await keysOf(store, 'walkback_001/claims/')).toEqual([]);
  });

  it('pruneArchive sees a claim that is written while it marks, and takes its mark back', async () => {
    await using directory = await temporaryDirectory();
    const archive = await fill((await storeIn(directory.path)).store, directory.path);
    const claim = { restoreId: 'restore/db-1/srv/x', namespace: 'default', backup: nameOf(first), claimedAt: on(5) };
    const racing: ObjectStore = {
      ...bound(archive.store),
      put: async (key, bytes, options) => {
        const put = await archive.store.put(key, bytes, options);
        if (key === removalMarkKey(nameOf(first))) await claimBackup(archive.store, claim, signal);
        return put;
      },
    };
    await prune({ store: racing, openWal: archive.openWal });
    expect(await namesIn(archive.store)).toEqual(sorted(all));
    expect(await segmentsIn(archive.store)).toContain(2);
    expect(await listRemovalMarks(archive.store, signal)).toEqual(new Set());
  });

  it('pruneArchive sweeps what has no sentinel only when no base backup runs and it is older than a day', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await storeIn(directory.path);
    const archive = await fill(store, directory.path);
    const orphan = `base_${smallSegment(5)}`;
    await archive.addParts(orphan);
    const keep = { rules: { keepFull: 9 } };
    expect((await prune(archive, keep)).leftoversKept).toEqual([
      { backup: orphan, reason: expect.stringContaining('younger than a day') as string },
    ]);
    for (const key of await keysOf(store, backupPrefix(orphan))) await utimes(join(root, key), new Date(0), new Date(0));
    expect((await prune(archive, { ...keep, isBackupRunning: async () => true })).leftoversKept).toEqual([
      { backup: orphan, reason: 'a base backup is running' },
    ]);
    expect((await prune(archive, keep)).leftovers).toMatchObject([{ backup: orphan, objects: 3 }]);
    expect(await keysOf(store, backupPrefix(orphan))).toEqual([]);
    expect(await store.head(manifestKey(orphan))).toBeUndefined();
  });

  it('pruneArchive refuses when documents cannot be read, and when nothing that can be restored would remain', async () => {
    await using directory = await temporaryDirectory();
    const archive = await fill((await storeIn(directory.path)).store, directory.path);
    const { store } = archive;
    await expect(prune(archive, { rules: { keepFull: 0 } })).rejects.toMatchObject({ code: 'PRUNE_REFUSED' });
    await expect(prune(archive, { rules: {} })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    await store.put(metadataKey(nameOf(second)), Buffer.from('{'));
    await store.delete([walKey(smallSegment(9), 'zst')]);
    await expect(prune(archive)).rejects.toMatchObject({ code: 'PRUNE_REFUSED', facts: { damaged: [nameOf(second)] } });
    // The newest cannot be restored any more, so the one before it is kept in its place.
    const report = await prune(archive, { ignoreDamaged: true });
    expect(report.damaged).toEqual([nameOf(second)]);
    expect(await namesIn(store)).toEqual(sorted([first, firstDelta, third]));
    expect(await store.head(sentinelKey(nameOf(second)))).toBeDefined();
  });
});

describe('markBackup', () => {
  const mark = (store: ObjectStore, story: SmallBackup, isPermanent: boolean) =>
    markBackup({ store, cipher: undefined, backup: nameOf(story), isPermanent, signal });

  it('markBackup marks a delta with its ancestors, retention keeps them, and unmarking an ancestor is refused', async () => {
    await using directory = await temporaryDirectory();
    const archive = await fill((await storeIn(directory.path)).store, directory.path);
    const { store } = archive;
    expect(await mark(store, firstDelta, true)).toEqual([nameOf(first), nameOf(firstDelta)]);
    expect(await mark(store, firstDelta, true)).toEqual([]);
    await expect(mark(store, first, false)).rejects.toMatchObject({ code: 'BACKUP_NEEDED', facts: { dependent: nameOf(firstDelta) } });
    await prune(archive);
    expect(await namesIn(store)).toEqual(sorted([first, firstDelta, third]));
    expect(await segmentsIn(store)).toEqual([2, 4, 9, 10, 11]);
    expect(await mark(store, firstDelta, false)).toEqual([nameOf(firstDelta)]);
    expect(await mark(store, first, false)).toEqual([nameOf(first)]);
    await expect(mark(store, second, true)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await prune(archive);
    expect(await namesIn(store)).toEqual([nameOf(third)]);
  });

  it('markBackup keeps members of metadata.json that it does not know', async () => {
    await using directory = await temporaryDirectory();
    const archive = await fill((await storeIn(directory.path)).store, directory.path);
    await archive.store.put(
      metadataKey(nameOf(third)),
      Buffer.from(JSON.stringify({ ...(await metadataOf(archive.store, third)), user_data: { a: 1 } })),
    );
    await mark(archive.store, third, true);
    expect(await metadataOf(archive.store, third)).toMatchObject({ is_permanent: true, user_data: { a: 1 }, hostname: 'db1' });
  });

  it.skipIf(walG === undefined)('stock wal-g sees the mark, sets and takes it, and lists what retention has kept', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await storeIn(directory.path);
    const archive = await fill(store, directory.path);
    const listed = async () => {
      const rows = JSON.parse(await runWalG(root, ['backup-list', '--detail', '--json'])) as {
        backup_name: string;
        is_permanent: boolean;
      }[];
      return rows
        .map(({ backup_name: name, is_permanent: isPermanent }) => [name, isPermanent] as const)
        .toSorted(([a], [b]) => (a < b ? -1 : 1));
    };
    await mark(store, firstDelta, true);
    expect(await listed()).toEqual(sorted(all).map((name) => [name, [nameOf(first), nameOf(firstDelta)].includes(name)]));
    await runWalG(root, ['backup-mark', '--impermanent', nameOf(firstDelta)]);
    await runWalG(root, ['backup-mark', '--impermanent', nameOf(first)]);
    await runWalG(root, ['backup-mark', nameOf(second)]);
    await prune(archive);
    expect(await listed()).toEqual([
      [nameOf(second), true],
      [nameOf(third), false],
    ]);
    expect(await segmentsIn(store)).toEqual([6, 7, 9, 10, 11]);
  });
});

async function metadataOf(store: ObjectStore, story: SmallBackup): Promise<object> {
  const { body } = (await store.get(metadataKey(nameOf(story))))!;
  return JSON.parse(Buffer.concat(await body.toArray()).toString()) as object;
}

/** The methods of a store, to replace some of them. */
function bound(store: ObjectStore): ObjectStore {
  return {
    url: store.url,
    put: (...args) => store.put(...args),
    openUpload: (...args) => store.openUpload(...args),
    get: (...args) => store.get(...args),
    head: (...args) => store.head(...args),
    list: (...args) => store.list(...args),
    delete: (...args) => store.delete(...args),
    probe: (...args) => store.probe(...args),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}
