/** Paths that PostgreSQL names in its commands, held to the directory they must lie in. */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';

/**
 * The real path of a file in a data directory's pg_wal, which may be a symbolic link. A path elsewhere means that another server runs our
 * command, for example a copy of the cluster that inherited its archive_command.
 * @throws WalkbackError WAL_REFUSED
 */
export async function resolveInPgWal(dataDirectory: string, path: string): Promise<string> {
  const pgWal = await realPathOf(join(dataDirectory, 'pg_wal'));
  const given = await realPathOf(dirname(resolve(dataDirectory, path)));
  if (given !== pgWal) {
    throw new WalkbackError('WAL_REFUSED', `${resolve(dataDirectory, path)} does not lie in ${pgWal}, the pg_wal of ${dataDirectory}.`, {
      hint: 'The server that runs this command is not the one the agent knows under this name: give each server a cluster name of its own.',
      facts: { path, dataDirectory },
    });
  }
  return join(pgWal, basename(path));
}

async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    throw new WalkbackError('WAL_REFUSED', `The directory ${path} cannot be reached by the agent.`, {
      hint: 'Check data_directory of the cluster, and that the agent runs as the user that owns it.',
      cause: error,
    });
  }
}
