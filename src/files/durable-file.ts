/** Files and names that survive a crash of the host: bytes, fsync, rename, fsync of the directory, in this order. The one place for it. */
import { randomUUID } from 'node:crypto';
import { closeSync, fsync, openSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** Mode of directories that only their owner may enter; PostgreSQL insists on it for a data directory. */
export const privateDirectoryMode = 0o700;
const privateFileMode = 0o600;
const fsyncFile = promisify(fsync);

/** Name prefix of files that are still being written; a crash may leave one behind. */
export const unfinishedPrefix = '.unfinished-';

/** Writes a whole file, 0600, in place of an older one: a reader sees the old or the new bytes, never a mixture. */
export async function writeFileDurably(path: string, content: string | Uint8Array): Promise<void> {
  await writeFileSynced(path, content);
  await syncDirectory(dirname(path));
}

/** The same for a file whose name need not survive a crash of the host; its bytes are synced before they have the name. */
export async function writeFileSynced(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = unfinishedPathOf(path);
  try {
    await writeSynced(unfinished, content);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/** A fresh name beside the path. */
export function unfinishedPathOf(path: string): string {
  return join(dirname(path), `${unfinishedPrefix}${basename(path)}-${randomUUID()}`);
}

/** Writes a new file, 0600, and syncs its bytes; the name is durable only after `syncDirectory`. */
export async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  await using file = await open(path, 'wx', privateFileMode);
  await file.writeFile(content);
  await file.sync();
}

/** Syncs the bytes of a file. */
export async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

/** The same, on its way to the disk when this returns: for threads that write without pause, and would hear late that the file is open. */
export async function syncFileAtOnce(path: string): Promise<void> {
  const file = openSync(path, 'r');
  try {
    await fsyncFile(file);
  } finally {
    closeSync(file);
  }
}

/** Makes names created, renamed or removed in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await syncFile(path);
}

/** Makes a directory with its parents, private to the user, and durable. A directory that is there already is left as it is. */
export async function makeDirectoryDurably(path: string): Promise<void> {
  if (await isMade(path)) return;
  // Step by step, because Node's recursive mkdir never ends on file systems that refuse with ENOENT, such as /proc.
  await makeDirectoryDurably(dirname(path));
  if (!(await isMade(path))) throw new Error(`${path} cannot be made: its parent refuses it`);
}

/** False when a parent is missing. */
async function isMade(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: privateDirectoryMode });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && dirname(path) !== path) return false;
    if (code === 'EEXIST') return true;
    throw error;
  }
  await syncDirectory(dirname(path));
  return true;
}
