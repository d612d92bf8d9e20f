/** Small files that must survive a crash of the host: bytes, fsync, rename, fsync of the directory. */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Name prefix of files that are still being written; a crash may leave one behind. */
export const unfinishedPrefix = '.unfinished-';

/** Replaces a file as a whole; a reader sees the old text or the new. Readable by the owner only. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const unfinished = unfinishedPathOf(path);
  try {
    await writeSynced(unfinished, text);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  await syncPath(dirname(path));
}

/** A fresh name beside the path. */
export function unfinishedPathOf(path: string): string {
  return join(dirname(path), `${unfinishedPrefix}${basename(path)}-${randomUUID()}`);
}

/** Writes a new file, 0600, and syncs it. */
export async function writeSynced(path: string, text: string): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await file.writeFile(text);
  await file.sync();
}

/** Syncs a file or a directory: what it holds by now survives a crash of the host. */
export async function syncPath(path: string): Promise<void> {
  await using handle = await open(path, 'r');
  await handle.sync();
}
