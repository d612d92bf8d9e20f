import { describe, expect, it } from 'vitest';
import { awaitSegmentsArchived } from '../../src/activities/wal-arrival.ts';
import { walKey } from '../../src/archive/layout.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { storeIn, temporaryDirectory, watched } from '../archive/support/temporary.ts';

const [first, second] = ['000000010000000000000004', '000000010000000000000005'] as const;
const { signal } = new AbortController();

/** The same store; `before` may throw in place of the answer whether an object is there. */
function asking(store: ObjectStore, before: (key: string) => void): ObjectStore {
  const same = watched(store, () => undefined);
  return {
    ...same,
    head: async (key, options) => {
      before(key);
      return await same.head(key, options);
    },
  };
}

describe('awaitSegmentsArchived', () => {
  it('ends when every segment is there, in whatever compression', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await store.put(walKey(first, 'lz4'), Buffer.from('one'));
    const waiting = awaitSegmentsArchived(store, [first, second], { timeoutMs: 10_000, signal });
    await store.put(walKey(second, 'zst'), Buffer.from('two'));
    await expect(waiting).resolves.toBeUndefined();
  });

  it('says WAL_NOT_ARCHIVED and the segment when its time is up', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await store.put(walKey(first, 'zst'), Buffer.from('one'));
    await expect(awaitSegmentsArchived(store, [first, second], { timeoutMs: 20, signal })).rejects.toMatchObject({
      code: 'WAL_NOT_ARCHIVED',
      facts: { segment: second },
    });
  });

  it('asks again when the store does not answer', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await store.put(walKey(first, 'zst'), Buffer.from('one'));
    const asked: string[] = [];
    const troubled = asking(store, (key) => {
      asked.push(key);
      if (asked.length <= 2) throw new WalkbackError('STORAGE_UNREACHABLE', 'away');
    });
    await expect(awaitSegmentsArchived(troubled, [first], { timeoutMs: 10_000, signal })).resolves.toBeUndefined();
    expect(asked).toHaveLength(3);
  });

  it("ends with the store's own word when its time is up without an answer, and at once when asking again is of no use", async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const asked: string[] = [];
    const failing = (code: 'STORAGE_UNREACHABLE' | 'STORAGE_ACCESS_DENIED') =>
      asking(store, () => {
        asked.push(code);
        throw new WalkbackError(code, 'no');
      });
    await expect(awaitSegmentsArchived(failing('STORAGE_UNREACHABLE'), [first], { timeoutMs: 20, signal })).rejects.toMatchObject({
      code: 'STORAGE_UNREACHABLE',
    });
    asked.length = 0;
    await expect(awaitSegmentsArchived(failing('STORAGE_ACCESS_DENIED'), [first], { timeoutMs: 10_000, signal })).rejects.toMatchObject({
      code: 'STORAGE_ACCESS_DENIED',
    });
    expect(asked).toEqual(['STORAGE_ACCESS_DENIED']);
  });
});
