/** Tells one file from another of the same name. */
import { lstat } from 'node:fs/promises';
import { WalkbackError } from '../../domain/errors.ts';

/** Inode, size and time of change; undefined when there is no such file. @throws WalkbackError WAL_REFUSED for anything but a regular file */
export async function fileIdentity(path: string): Promise<string | undefined> {
  const stats = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (stats === undefined) return undefined;
  if (!stats.isFile()) throw new WalkbackError('WAL_REFUSED', `${path} is not a regular file.`);
  return `${stats.ino}:${stats.size}:${stats.mtimeNs}`;
}

/** @throws WalkbackError WAL_REFUSED */
export function missingFile(path: string): never {
  throw new WalkbackError('WAL_REFUSED', `${path} does not exist.`, {
    hint: 'Was it removed from pg_wal by hand? PostgreSQL asks only for files it has.',
  });
}
