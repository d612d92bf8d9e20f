import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { waitingForRoom } from '../../src/archive/fetch/room-wait.ts';
import { WalkbackError } from '../../src/domain/errors.ts';

const full = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
const never = new AbortController().signal;

describe('waitingForRoom', () => {
  it('A10: says that it waits, and does the work again until there is room', async () => {
    const failures = [full(), new WalkbackError('NOT_ENOUGH_DISK', 'no room left'), Object.assign(full(), { code: 'EDQUOT' })];
    const waits: number[] = [];
    const work = async (): Promise<string> => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return 'done';
    };
    const options = {
      directory: tmpdir(),
      pollIntervalMs: 1,
      retryAfterMs: 10,
      signal: never,
      onWait: (free: number) => void waits.push(free),
    };
    expect(await waitingForRoom(work, options)).toBe('done');
    expect(waits.length).toBeGreaterThanOrEqual(3);
  });

  it('waits no longer on a host whose clock is set back', async () => {
    const failures = [full(), full()];
    let hostClockMs = Date.now();
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => (hostClockMs -= 600_000));
    try {
      const work = async (): Promise<string> => {
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        return 'done';
      };
      const options = { directory: tmpdir(), pollIntervalMs: 1, retryAfterMs: 5, signal: never, onWait: () => undefined };
      expect(await waitingForRoom(work, options)).toBe('done');
    } finally {
      clock.mockRestore();
    }
  });

  it('looks at the file system of a directory that is not made yet', async () => {
    const failures = [full()];
    const work = async (): Promise<string> => {
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return 'done';
    };
    const frees: number[] = [];
    const directory = join(tmpdir(), 'not', 'there');
    const onWait = (free: number) => void frees.push(free);
    expect(await waitingForRoom(work, { directory, pollIntervalMs: 1, retryAfterMs: 5, signal: never, onWait })).toBe('done');
    expect(Math.min(...frees)).toBeGreaterThan(0);
  });

  it('gives up when its time is up, and at once for every other error and when it is stopped', async () => {
    const options = { directory: tmpdir(), timeoutMs: 30, pollIntervalMs: 5, signal: never, onWait: () => undefined };
    await expect(waitingForRoom(async () => Promise.reject(full()), options)).rejects.toMatchObject({ code: 'NOT_ENOUGH_DISK' });
    await expect(waitingForRoom(async () => Promise.reject(new Error('another')), options)).rejects.toThrow('another');
    const stopped = AbortSignal.timeout(20);
    const waiting = waitingForRoom(async () => Promise.reject(full()), { ...options, timeoutMs: 60_000, signal: stopped });
    await expect(waiting).rejects.toThrow('aborted');
  });
});
