/** Files that survive a crash: bytes, fsync, rename, fsync of the directory, in this order. */
import { link, mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../files/durable-file.ts';
import { systemCodeOf } from '../files/system-error.ts';

/** A concurrent delete may remove the directory that was just made; it cannot do so for ever. */
const placeAttemptsMaximumCount = 10;

/**
 * Puts a complete, fsynced file in its place and makes that durable up to `root`, which must exist. Nothing is left of `temporary`.
 * @returns false only when `exclusive` and the place is taken
 */
export async function placeFile(
  temporary: string,
  path: string,
  options: { readonly root: string; readonly exclusive: boolean },
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      if (options.exclusive) await link(temporary, path);
      else await rename(temporary, path);
      break;
    } catch (error) {
      if (options.exclusive && systemCodeOf(error) === 'EEXIST') {
        await rm(temporary);
        return false;
      }
      if (systemCodeOf(error) !== 'ENOENT' || attempt === placeAttemptsMaximumCount) throw error;
      await makeParents(dirname(path), options.root);
    }
  }
  if (options.exclusive) await rm(temporary);
  await syncUpTo(dirname(path), options.root);
  return true;
}

/** Removes a file and the parents that it leaves empty, as WAL-G does (storages/fs/folder.go). An absent file is no error. */
export async function removeFile(path: string, root: string): Promise<void> {
  try {
    await rm(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return;
    throw error;
  }
  let directory = dirname(path);
  while (directory !== root && (await removeIfEmpty(directory))) directory = dirname(directory);
  await syncDirectory(directory).catch(ignoreAbsence);
}

/** Makes the directories between root and directory; never root itself, which may be a mount point that is not mounted. */
async function makeParents(directory: string, root: string): Promise<void> {
  if (directory === root) return;
  try {
    await mkdir(directory, { mode: 0o755 });
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return;
    if (systemCodeOf(error) !== 'ENOENT' || dirname(directory) === root) throw error;
    await makeParents(dirname(directory), root);
    await mkdir(directory, { mode: 0o755 }).catch(ignorePresence);
  }
}

/** Also flushes directories that another writer made a moment ago and has not flushed yet; for clean ones it costs nothing. */
async function syncUpTo(directory: string, root: string): Promise<void> {
  await syncDirectory(directory);
  if (directory !== root) await syncUpTo(dirname(directory), root);
}

async function removeIfEmpty(directory: string): Promise<boolean> {
  try {
    await rmdir(directory);
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOENT') return true;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
    throw error;
  }
}

function ignorePresence(error: unknown): void {
  if (systemCodeOf(error) !== 'EEXIST') throw error;
}

/** A concurrent delete took the directory too: nothing is left to flush. */
function ignoreAbsence(error: unknown): void {
  if (systemCodeOf(error) !== 'ENOENT') throw error;
}
