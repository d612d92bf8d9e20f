// Questions about files that set-up asks.

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execute } from './execute.mjs';

/** Is there a program at the path that this process may run? */
export async function isExecutable(path) {
  const file = await stat(path).catch(() => null);
  if (file === null || !file.isFile()) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The first program of that name on PATH, or null. */
export async function findOnPath(name, environment) {
  for (const directory of (environment.PATH ?? '').split(delimiter).filter((part) => part !== '')) {
    const path = join(directory, name);
    if (await isExecutable(path)) return path;
  }
  return null;
}

/** Lets every user read the tree and run its programs: PostgreSQL refuses root, so what root installs is run by somebody else. */
export async function allowReadingByAll(directory) {
  await execute('chmod', ['-R', 'a+rX', directory]);
}
