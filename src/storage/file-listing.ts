/** Listing of objects in a directory, in the order in which S3 lists. */
import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsence } from './file-errors.ts';
import { compareKeys } from './object-key.ts';

/** What is listed. */
export interface ListFilesOptions {
  readonly root: string;
  readonly prefix: string;
  readonly shallow: boolean;
  /** Folders that are not objects, without a slash at the end. */
  readonly hiddenFolders: ReadonlySet<string>;
}

/** Walks the keys that begin with the prefix. Holds the names of one directory for each level, and nothing else. */
export async function* listKeys(options: ListFilesOptions): AsyncIterable<string> {
  const folder = options.prefix.slice(0, options.prefix.lastIndexOf('/') + 1);
  yield* walk(folder, options);
}

async function* walk(folder: string, options: ListFilesOptions): AsyncIterable<string> {
  for (const name of await sortedNames(folder, options)) {
    const key = folder + name;
    // What does not begin with the prefix may still lead there: folder `a/` for the prefix `a/b`.
    if (!key.startsWith(options.prefix)) continue;
    if (!key.endsWith('/')) yield key;
    else if (!options.shallow && !options.hiddenFolders.has(key.slice(0, -1))) yield* walk(key, options);
  }
}

/** Names of directories get their slash before sorting: `a-b` comes before `a/c`, and `a.b` too. */
async function sortedNames(folder: string, options: ListFilesOptions): Promise<string[]> {
  const entries = await entriesOf(join(options.root, folder), folder === '');
  const names = entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
  return names.sort(compareKeys);
}

/** A folder that is absent holds no objects; an absent root is another matter. */
async function entriesOf(directory: string, isRoot: boolean): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (!isRoot && isAbsence(error)) return [];
    throw error;
  }
}
