import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DirectoryLeases } from '../../src/activities/directory-leases.ts';

const directory = '/srv/shop-1157';
const neverEnds = new AbortController().signal;
const as = (attemptId: string) => ({ attemptId, signal: neverEnds });

/** Works on the directory until it is stopped, and then a while longer. */
async function untilStopped(signal: AbortSignal, log: string[], name: string): Promise<void> {
  log.push(`${name} begins`);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await delay(20);
  log.push(`${name} ends`);
  signal.throwIfAborted();
}

describe('DirectoryLeases', () => {
  it('stop an earlier attempt, and let the later one in when it has ended', async () => {
    const leases = new DirectoryLeases();
    const log: string[] = [];
    const first = leases.run(directory, as('run/5/1'), (signal) => untilStopped(signal, log, 'first'));
    const second = leases.run(directory, as('run/5/2'), async () => void log.push('second'));
    await expect(first).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE', message: expect.stringContaining('run/5/2') });
    await second;
    expect(log).toEqual(['first begins', 'first ends', 'second']);
  });

  it.each([
    ['the same step was tried again', 'run/5/2', 'run/5/1'],
    ['a later step has begun', 'run/6/1', 'run/5/3'],
    ['a tenth step has begun', 'run/10/1', 'run/9/1'],
  ])('keep out an attempt that wakes up late, when %s', async (_, later, late) => {
    const leases = new DirectoryLeases();
    await leases.run(directory, as(later), async () => undefined);
    await expect(leases.run(directory, as(late), async () => 'touched')).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining('comes late'),
    });
  });

  it('keep out an attempt of a run that another has followed, and do not disturb who works now', async () => {
    const leases = new DirectoryLeases();
    await leases.run(directory, as('old/7/1'), async () => undefined);
    const { promise: end, resolve } = Promise.withResolvers<void>();
    let wasStopped = false;
    const working = leases.run(directory, as('new/5/1'), async (signal) => {
      await end;
      wasStopped = signal.aborted;
    });
    await expect(leases.run(directory, as('old/8/1'), async () => 'touched')).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE' });
    resolve();
    await working;
    expect(wasStopped).toBe(false);
  });

  it('let the next step in, the same attempt once more, and whoever wants another directory', async () => {
    const leases = new DirectoryLeases();
    for (const attempt of ['run/5/1', 'run/5/1', 'run/6/1', 'next/5/1'])
      expect(await leases.run(directory, as(attempt), async () => attempt)).toBe(attempt);
    expect(await leases.run('/srv/other', as('run/5/1'), async () => 'other')).toBe('other');
  });

  it('refuse the later attempt when the earlier one does not stop in time', async () => {
    const leases = new DirectoryLeases({ takeoverTimeoutMs: 20 });
    const { promise: end, resolve } = Promise.withResolvers<void>();
    const stuck = leases.run(directory, as('run/5/1'), () => end);
    await expect(leases.run(directory, as('run/5/2'), async () => 'touched')).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_IN_USE',
      message: expect.stringContaining('run/5/1 still works'),
    });
    resolve();
    await stuck;
  });
});
