import { describe, expect, it } from 'vitest';
import { awaitSegmentsArchived } from '../../src/activities/wal-arrival.ts';
import { walKey } from '../../src/archive/layout.ts';
import { storeIn, temporaryDirectory } from '../archive/support/temporary.ts';

const [first, second] = ['000000010000000000000004', '000000010000000000000005'] as const;
const { signal } = new AbortController();

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
});
