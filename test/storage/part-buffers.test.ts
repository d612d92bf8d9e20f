import { describe, expect, it, vi } from 'vitest';
import { PartBuffers } from '../../src/storage/part-buffers.ts';

const sizeBytes = 4096;

describe('PartBuffers', () => {
  it('gives a buffer out again, and frees at once what comes back beyond the six that it keeps', () => {
    const buffers = new PartBuffers(sizeBytes);
    const taken = Array.from({ length: 8 }, () => buffers.take());
    for (const buffer of taken) buffers.give(buffer);
    expect(taken.map(({ length }) => length)).toEqual([...Array.from({ length: 6 }, () => sizeBytes), 0, 0]);
    expect(buffers.take()).toBe(taken[5]);
  });

  it('frees all that it keeps when no upload has followed for a while', async () => {
    const buffers = new PartBuffers(sizeBytes, 1);
    const kept = buffers.take();
    buffers.give(kept);
    await vi.waitFor(() => expect([buffers.keptCount, kept.length]).toEqual([0, 0]));
    expect(buffers.take()).toHaveLength(sizeBytes);
  });
});
