/** Files that have to survive a power failure: bytes, fsync, rename, fsync of the directory. */
import { mkdir, open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Mode of everything in a data directory; PostgreSQL insists on it for the directory itself. */
export const privateDirectoryMode = 0o700;
const privateFileMode = 0o600;

/** Writes a whole file in place of an older one; a reader sees the old or the new bytes, never a mixture. */
export async function writeFileDurably(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.walkback-new`);
  await writeSynced(temporary, content);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Writes a file and its bytes to disk, without the rename that would make it appear at once. */
export async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'w', privateFileMode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes names created, renamed or removed in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
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
