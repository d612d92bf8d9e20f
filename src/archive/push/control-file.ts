/** Reads pg_control while the server may be writing it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../../domain/errors.ts';
import { pgControlMember } from '../layout.ts';

/** The server writes the file at checkpoints, seconds apart; a read takes microseconds. */
const maximumReadCount = 50;
const rereadDelayMs = 5;

/**
 * The file's content, read until two reads agree: the server overwrites it in place, and half of an old and half of a new one would be useless.
 * @throws WalkbackError BACKUP_FAILED when it never stands still
 */
export async function readControlFile(dataDirectory: string, signal: AbortSignal): Promise<Buffer> {
  const path = join(dataDirectory, pgControlMember);
  let previous = await readFile(path);
  for (let readCount = 1; readCount < maximumReadCount; readCount += 1) {
    const content = await readFile(path);
    if (content.equals(previous)) return content;
    previous = content;
    await delay(rereadDelayMs, undefined, { signal });
  }
  throw new WalkbackError('BACKUP_FAILED', `${path} was different each of the ${maximumReadCount} times it was read.`);
}
