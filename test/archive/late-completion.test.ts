/** A base backup whose objects the store has, and does not put together at once. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { BaseBackupUpload, uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { contentsOf, keptFiles, makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { storeIn, temporaryDirectory, watched } from './support/temporary.ts';

const away = new WalkbackError('STORAGE_UNREACHABLE', 'The store is away.');
const isPart = (key: string): boolean => key.includes('/part_');
/** More runs than any case needs. */
const runsMaximum = 100;

interface Case {
  readonly partBytes: number;
  readonly concurrency: number;
  /** May throw. */
  readonly beforeCompletion: (key: string) => void;
  /** Default: nothing waits. */
  readonly beforeAbort?: () => Promise<void>;
}

/** An upload of the synthetic tree, and what it did in turn: `upload KEY` and `stop`. */
async function uploadOf(directory: string, { beforeCompletion, beforeAbort, ...limits }: Case) {
  const dataDirectory = join(directory, 'source');
  await makeDataDirectory(dataDirectory);
  const { store, root } = await storeIn(directory);
  const order: string[] = [];
  const stop = async () => {
    order.push('stop');
    return stopped;
  };
  const observed: ObjectStore = {
    ...watched(store, () => undefined),
    openUpload: async (key, options) => {
      order.push(`upload ${key}`);
      const upload = await store.openUpload(key, options);
      return {
        write: async (bytes) => upload.write(bytes),
        flush: async () => upload.flush(),
        abort: async () => {
          await beforeAbort?.();
          await upload.abort();
        },
        complete: async (signal) => {
          beforeCompletion(key);
          return upload.complete(signal);
        },
      };
    },
  };
  return { store, root, order, options: { store: observed, dataDirectory, compression: 'zstd', start, stop, ...limits } as const };
}

async function expectRestored(store: ObjectStore, directory: string): Promise<void> {
  const into = join(directory, 'target');
  await fetchBaseBackup({ store, backup: start.name, into, stateDirectory: join(into, 'walkback_restore') });
  const [contents, original] = [await contentsOf(into), await contentsOf(join(directory, 'source'))];
  for (const name of [...Object.keys(keptFiles), 'base/5/sparse', 'global/pg_control']) expect(contents[name]).toBe(original[name]);
}

describe('a base backup whose last object is put together late', () => {
  it('is stopped meanwhile, and reads and stops nothing again when only that has to be tried again', async () => {
    await using directory = await temporaryDirectory();
    let isAway = true;
    const { store, order, options } = await uploadOf(directory.path, {
      partBytes: 64 * 1024 * 1024,
      concurrency: 2,
      beforeCompletion: (key) => {
        if (isAway && isPart(key)) throw away;
      },
    });
    const upload = new BaseBackupUpload(options);
    for (const attempt of [1, 2, 3]) await expect(upload.run(), `${attempt}`).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    expect(order).toContain('stop');
    isAway = false;
    await completeBaseBackup(store, await upload.run());
    expect(order.filter(isPart)).toHaveLength(1);
    expect(order.filter((name) => name === 'stop')).toHaveLength(1);
    await expectRestored(store, directory.path);
  });

  it('leaves nothing of it in the store when no further run comes', async () => {
    await using directory = await temporaryDirectory();
    const { root, options } = await uploadOf(directory.path, {
      partBytes: 64 * 1024 * 1024,
      concurrency: 2,
      beforeCompletion: (key) => {
        if (isPart(key)) throw away;
      },
    });
    await expect(uploadBaseBackup(options)).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    expect(await readdir(join(root, '.walkback-tmp'))).toEqual([]);
  });

  it('does not keep whoever gives it up from going on while the store is away', async () => {
    await using directory = await temporaryDirectory();
    const storeIsBack = Promise.withResolvers<void>();
    let abortCount = 0;
    const { root, options } = await uploadOf(directory.path, {
      partBytes: 64 * 1024 * 1024,
      concurrency: 2,
      beforeCompletion: (key) => {
        if (isPart(key)) throw away;
      },
      beforeAbort: async () => {
        abortCount += 1;
        await storeIsBack.promise;
      },
    });
    const upload = new BaseBackupUpload(options);
    await expect(upload.run()).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    await upload.abandon(1);
    expect(abortCount).toBe(1);
    storeIsBack.resolve();
    await expect.poll(async () => readdir(join(root, '.walkback-tmp'))).toEqual([]);
  });

  it('is stopped once and after all was read, however often and whenever the store does not put an object together', async () => {
    const failures = fc.array(fc.boolean(), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(failures, fc.integer({ min: 1, max: 3 }), async (fails, concurrency) => {
        await using directory = await temporaryDirectory();
        const left = [...fails];
        const { store, order, options } = await uploadOf(directory.path, {
          partBytes: 256 * 1024,
          concurrency,
          beforeCompletion: (key) => {
            if (isPart(key) && left.shift() === true) throw away;
          },
        });
        await completeBaseBackup(store, await untilUploaded(new BaseBackupUpload(options)));
        const parts = order.filter(isPart);
        expect(parts.length).toBeGreaterThan(3);
        expect(order.filter((name) => name === 'stop')).toHaveLength(1);
        // One that is under way when the completion of another fails is sent again.
        expect(concurrency > 1 || new Set(parts).size === parts.length).toBe(true);
        // Nothing is read from the source once it may have gone on without the backup.
        expect(order.findLastIndex(isPart)).toBeLessThan(order.indexOf('stop'));
        await expectRestored(store, directory.path);
      }),
      { numRuns: 15 },
    );
  });
});

async function untilUploaded(upload: BaseBackupUpload) {
  for (let run = 1; run <= runsMaximum; run += 1) {
    try {
      return await upload.run();
    } catch (error) {
      if (error !== away) throw error;
    }
  }
  throw new Error(`not uploaded after ${runsMaximum} runs`);
}
