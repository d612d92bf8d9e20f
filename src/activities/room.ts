/** Steps on a disk that is full: they wait, say so, and go on by themselves when there is room. */
import { waitingForRoom } from '../archive/fetch/room-wait.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { systemCodeOf } from '../files/system-error.ts';
import { sqlStateOf } from '../postgres/connection.ts';
import type { ActivityStep } from './activity.ts';
import type { RestoreJob } from './types.ts';

/** disk_full (manual, appendix A). */
const diskFullState = '53100';
/** A server that cannot start says it in its log alone. */
const diskFullLines = /No space left on device|Disk quota exceeded/;
/** An error that names this many others has lost its way. */
const causeDepthMaximum = 10;

/** Does the work again when the disk was full, by our own files or by the word of the server, and has room; what it does may be done twice. */
export async function roomFor<T>(
  { dataDirectory }: Pick<RestoreJob, 'dataDirectory'>,
  { signal, report }: Pick<ActivityStep, 'signal' | 'report'>,
  work: () => Promise<T>,
): Promise<T> {
  const onWait = (freeBytes: number) => report({ note: `The disk is full, ${freeBytes} bytes are free: waiting for room.` });
  return await waitingForRoom(() => work().catch(rethrowTold), { directory: dataDirectory, signal, onWait });
}

function rethrowTold(error: unknown): never {
  if (!isForWantOfRoom(error)) throw error;
  throw new WalkbackError('NOT_ENOUGH_DISK', messageOf(error), { cause: error });
}

function isForWantOfRoom(error: unknown): boolean {
  if (sqlStateOf(error) === diskFullState) return true;
  let current = error;
  for (let depth = 0; depth < causeDepthMaximum && current instanceof Error; depth += 1) {
    const code = systemCodeOf(current);
    if (code === 'ENOSPC' || code === 'EDQUOT') return true;
    if (current instanceof WalkbackError && current.code === 'POSTGRES_DID_NOT_START' && diskFullLines.test(wordsOf(current))) return true;
    current = current.cause;
  }
  return false;
}

function wordsOf({ message, facts }: WalkbackError): string {
  return [message, facts['log']].flat().join('\n');
}
