import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HeldBackups } from '../../src/activities/held-backups.ts';
import type { RunningBackup } from '../../src/activities/running-backup.ts';

/** A backup session that says when it was ended. */
class Session {
  isAlive = true;
  endCount = 0;

  get backup(): RunningBackup {
    const session = {
      isAlive: async () => this.isAlive,
      [Symbol.asyncDispose]: async () => {
        this.endCount += 1;
      },
    };
    return session as unknown as RunningBackup;
  }
}

const minuteMs = 60_000;

describe('HeldBackups', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('end a session for which no attempt came within a quarter of an hour', async () => {
    await using held = new HeldBackups();
    const session = new Session();
    held.hold('shop', 'backup-1', session.backup);
    await vi.advanceTimersByTimeAsync(14 * minuteMs);
    expect(session.endCount).toBe(0);
    await vi.advanceTimersByTimeAsync(1 * minuteMs);
    expect(session.endCount).toBe(1);
    expect(await held.take('shop', 'backup-1')).toBeUndefined();
  });

  it('give the session to the next attempt of the same activity, which owns it from then on', async () => {
    await using held = new HeldBackups();
    const session = new Session();
    const { backup } = session;
    held.hold('shop', 'backup-1', backup);
    expect(await held.take('shop', 'backup-1')).toBe(backup);
    await vi.advanceTimersByTimeAsync(20 * minuteMs);
    expect(session.endCount).toBe(0);
  });

  it('end a session that another activity finds, and one whose server is gone', async () => {
    await using held = new HeldBackups();
    const [foreign, dead] = [new Session(), new Session()];
    held.hold('shop', 'backup-1', foreign.backup);
    expect(await held.take('shop', 'backup-2')).toBeUndefined();
    dead.isAlive = false;
    held.hold('shop', 'backup-2', dead.backup);
    expect(await held.take('shop', 'backup-2')).toBeUndefined();
    expect([foreign.endCount, dead.endCount]).toEqual([1, 1]);
  });

  it('end the session of a cluster whose backup is given up, and know nothing of it any more', async () => {
    await using held = new HeldBackups();
    const session = new Session();
    held.hold('shop', 'backup-1', session.backup);
    await held.release('books');
    expect(session.endCount).toBe(0);
    await held.release('shop');
    await held.release('shop');
    await vi.advanceTimersByTimeAsync(15 * minuteMs);
    expect(session.endCount).toBe(1);
    expect(await held.take('shop', 'backup-1')).toBeUndefined();
  });

  it('end what is held when the agent ends', async () => {
    const session = new Session();
    {
      await using held = new HeldBackups();
      held.hold('shop', 'backup-1', session.backup);
    }
    expect(session.endCount).toBe(1);
  });
});
