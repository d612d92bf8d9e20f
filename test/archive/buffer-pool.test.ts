import { describe, expect, it, vi } from 'vitest';
import { BufferPool } from '../../src/archive/buffer-pool.ts';

const sizeBytes = 1024;

describe('BufferPool', () => {
  it('lends no more memory at a time than it may, and whoever waits has the next that is given back', async () => {
    const pool = new BufferPool({ sizeBytes, maximumCount: 4, maximumBytes: 2 * sizeBytes + 100 });
    const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    const begun: number[] = [];
    const lent = gates.map(async (gate, index) =>
      pool.lend(async (buffer) => {
        begun.push(index);
        await gate.promise;
        return buffer;
      }),
    );
    await vi.waitFor(() => expect(begun).toEqual([0, 1]));
    gates[1]?.resolve();
    const second = await lent[1];
    await vi.waitFor(() => expect(begun).toEqual([0, 1, 2]));
    for (const gate of gates) gate.resolve();
    expect(await lent[2]).toBe(second);
    await lent[3];
    expect(pool.keptCount).toBe(2);
  });

  it('lends one of any size, and goes on after work that failed, whose memory nobody gets again', async () => {
    const pool = new BufferPool({ sizeBytes, maximumCount: 4, maximumBytes: 1 });
    const failed = pool.lend(async (buffer) => {
      throw new Error(`stopped midway in ${buffer.length} bytes`);
    });
    const next = pool.lend(async (buffer) => buffer.length);
    await expect(failed).rejects.toThrow('stopped midway in 1024 bytes');
    expect(await next).toBe(sizeBytes);
    expect(pool.keptCount).toBe(1);
  });

  it('gives its memory back to the system when nobody asked for it for a while', async () => {
    const pool = new BufferPool({ sizeBytes, maximumCount: 4, maximumBytes: 4 * sizeBytes, idleMs: 1 });
    await pool.lend(async () => undefined);
    await vi.waitFor(() => expect(pool.keptCount).toBe(0));
  });
});
