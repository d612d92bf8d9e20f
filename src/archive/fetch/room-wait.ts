/** What a step that writes does when the disk is full: it waits, and goes on by itself when somebody has made room. */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { isAbsent, systemCodeOf } from '../../files/system-error.ts';

export interface RoomWaitOptions {
  /** On the file system that is full, or a path that is to be made there. */
  readonly directory: string;
  /** How long to wait in all. Default a day: time for a person to be there. */
  readonly timeoutMs?: number;
  /** How often to look. Default 5,000. */
  readonly pollIntervalMs?: number;
  /** Tried again after this time in any case, since a quota shows in no free space. Default 60,000. */
  readonly retryAfterMs?: number;
  readonly signal: AbortSignal;
  /** Told when waiting begins, and at each look. */
  readonly onWait: (freeBytes: number) => void;
}

const dayMs = 24 * 60 * 60_000;
const defaultPollIntervalMs = 5000;
/** So much more than when it failed is room worth a try. */
const roomBytes = 64 * 1024 * 1024;
const defaultRetryAfterMs = 60_000;

/**
 * Runs the work, which goes on where it stopped, until it does not fail for want of room.
 * @throws WalkbackError NOT_ENOUGH_DISK when there is still none after the timeout; every other error as it is; the signal's reason
 */
export async function waitingForRoom<T>(work: () => Promise<T>, options: RoomWaitOptions): Promise<T> {
  const { timeoutMs = dayMs, retryAfterMs = defaultRetryAfterMs } = options;
  let leftMs = timeoutMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!isForWantOfRoom(error)) throw error;
      const startedMs = performance.now();
      if (leftMs <= 0) throw stillFull(options.directory, timeoutMs, error);
      await untilRoom(options, Math.min(leftMs, retryAfterMs));
      leftMs -= performance.now() - startedMs;
    }
  }
}

async function untilRoom(
  { directory, pollIntervalMs = defaultPollIntervalMs, signal, onWait }: RoomWaitOptions,
  limitMs: number,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  const atFirst = await freeBytesOf(directory);
  for (let free = atFirst; free < atFirst + roomBytes && performance.now() < deadlineMs; free = await freeBytesOf(directory)) {
    onWait(free);
    await delay(Math.min(pollIntervalMs, limitMs), undefined, { signal });
  }
}

async function freeBytesOf(directory: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    if (!isAbsent(error) || directory === dirname(directory)) throw error;
    return await freeBytesOf(dirname(directory));
  }
}

function isForWantOfRoom(error: unknown): boolean {
  if (error instanceof WalkbackError) return error.code === 'NOT_ENOUGH_DISK';
  const code = systemCodeOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

function stillFull(directory: string, timeoutMs: number, cause: unknown): WalkbackError {
  const hours = (timeoutMs / 3_600_000).toFixed(1);
  return new WalkbackError('NOT_ENOUGH_DISK', `${directory} has had no room for ${hours} hours: ${messageOf(cause)}`, {
    facts: { directory },
    cause,
  });
}
