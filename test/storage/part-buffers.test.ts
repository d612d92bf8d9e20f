import { describe, expect, it, vi } from 'vitest';
import { PartBuffers } from '../../src/storage/part-buffers.ts';

const sizeBytes = 4096;

function takeAll(buffers: PartBuffers, count: number): Promise<readonly Buffer[]> {
  return Promise.all(Array.from({ length: count }, () => buffers.take()));
}

describe('PartBuffers', () => {
  it('gives a buffer out again, and frees at once what comes back beyond the six that it keeps', async () => {
    const buffers = new PartBuffers(sizeBytes);
    const taken = await takeAll(buffers, 8);
    for (const buffer of taken) buffers.give(buffer);
    expect(taken.map(({ length }) => length)).toEqual([...Array.from({ length: 6 }, () => sizeBytes), 0, 0]);
    expect(await buffers.take()).toBe(taken[5]);
  });

  it('frees all that it keeps when no upload has followed for a while', async () => {
    const buffers = new PartBuffers(sizeBytes, 1);
    const kept = await buffers.take();
    buffers.give(kept);
    await vi.waitFor(() => expect([buffers.keptCount, kept.length]).toEqual([0, 0]));
    expect(await buffers.take()).toHaveLength(sizeBytes);
  });

  it('makes those that it keeps together, so that the garbage collector runs once for all of them', async () => {
    const buffers = new PartBuffers(sizeBytes);
    await buffers.take();
    expect(buffers.keptCount).toBe(5);
    await takeAll(buffers, 6);
    expect(buffers.keptCount).toBe(0);
  });

  it('frees what was made for others when the only upload failed', async () => {
    const buffers = new PartBuffers(sizeBytes, 1);
    await buffers.take();
    buffers.drop();
    await vi.waitFor(() => expect(buffers.keptCount).toBe(0));
  });

  it('has 128 MiB out at a time: who comes then gets the next one that comes back, in turn', async () => {
    const buffers = new PartBuffers(16 * 1024 * 1024);
    const taken = await takeAll(buffers, 8);
    const got: string[] = [];
    const first = buffers.take().then((buffer) => got.push(`first ${taken.indexOf(buffer)}`));
    const second = buffers.take().then((buffer) => got.push(`second ${taken.indexOf(buffer)}`));
    await Promise.resolve();
    expect(got).toEqual([]);
    buffers.give(taken[3] ?? Buffer.alloc(0));
    await first;
    expect(got).toEqual(['first 3']);
    // A request that failed may hold its buffer yet: the next one is another.
    buffers.drop();
    await second;
    expect(got).toEqual(['first 3', 'second -1']);
  });

  it('has two out, however large they are', async () => {
    expect(await takeAll(new PartBuffers(256 * 1024 * 1024), 2)).toHaveLength(2);
  });
});
