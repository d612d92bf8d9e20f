/** The directory that a restore fills: whose it is, and whether it may be started. */
import { access, chmod, readdir, readFile, rename, rm } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { systemCodeOf } from '../files/system-error.ts';
import { makeDirectoryDurably, privateDirectoryMode, syncDirectory } from '../files/durable-file.ts';
import {
  holdsOnlyUnplacedMarker,
  markerFileName,
  placeMarker,
  readMarker,
  type RestoreMarker,
  restoreDirectoryName,
  restoreDirectoryOf,
} from './restore-marker.ts';
import { serverState } from './server-state.ts';

/** What is at a path. */
export type DataDirectoryState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'empty' }
  /** A restore's; `running` tells whether its server is up. */
  | { readonly kind: 'marked'; readonly marker: RestoreMarker; readonly running: boolean }
  /** Somebody's files, or not a directory. */
  | { readonly kind: 'occupied' }
  /** A server runs on it, and no restore has marked it. */
  | { readonly kind: 'running'; readonly pid: number | undefined };

const abandonedSuffix = '.walkback-abandoned';

/** Major version of a data directory's server. @throws WalkbackError DATA_DIRECTORY_DAMAGED when PG_VERSION does not tell */
export async function majorOfDirectory(dataDirectory: string): Promise<number> {
  const text = await readFile(join(dataDirectory, 'PG_VERSION'), 'utf8').catch(() => '');
  const major = Number.parseInt(text, 10);
  if (major > 0) return major;
  throw new WalkbackError('DATA_DIRECTORY_DAMAGED', `${dataDirectory} has no PG_VERSION that tells which PostgreSQL it is of.`);
}

/** Looks at a path without changing anything. */
export async function inspectDataDirectory(path: string): Promise<DataDirectoryState> {
  const names = await namesIn(path);
  if (names === 'absent') return { kind: 'absent' };
  if (names === 'not-a-directory') return { kind: 'occupied' };
  if (names.length === 0) return { kind: 'empty' };
  const server = await serverState(path);
  const marker = await readMarker(path);
  if (marker !== undefined) return { kind: 'marked', marker, running: server.running };
  if (server.running) return { kind: 'running', pid: server.pid };
  const unplaced = names.length === 1 && names[0] === restoreDirectoryName && (await holdsOnlyUnplacedMarker(path));
  return { kind: unplaced ? 'empty' : 'occupied' };
}

/**
 * Makes the directory and marks it as this restore's. A directory that carries the marker of the same restore is taken as it is, so that the
 * call may be repeated.
 * @returns the marker that is in place
 * @throws WalkbackError DATA_DIRECTORY_NOT_EMPTY, DATA_DIRECTORY_IN_USE, NOT_ENOUGH_DISK, INVALID_REQUEST when the path cannot be made
 */
export async function createDataDirectory(path: string, marker: RestoreMarker): Promise<RestoreMarker> {
  if (!isAbsolute(path)) throw new WalkbackError('INVALID_REQUEST', `The data directory "${path}" is not an absolute path.`);
  const state = await inspectDataDirectory(path);
  refuseWhatIsNotOurs(path, state, marker);
  if (state.kind === 'marked') return state.marker;
  try {
    await makeDirectoryDurably(path);
    await chmod(path, privateDirectoryMode);
    if (await placeMarker(path, marker)) return marker;
  } catch (cause) {
    const code = systemCodeOf(cause);
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new WalkbackError('NOT_ENOUGH_DISK', `The data directory ${path} cannot be made: ${(cause as Error).message}`, { cause });
    throw new WalkbackError('INVALID_REQUEST', `The data directory ${path} cannot be made: ${(cause as Error).message}`, {
      hint: 'Choose a path that the agent may write to, owned by the user who runs PostgreSQL.',
      cause,
    });
  }
  // Somebody placed a marker between the look and the placing.
  const winner = await inspectDataDirectory(path);
  refuseWhatIsNotOurs(path, winner, marker);
  return winner.kind === 'marked' ? winner.marker : marker;
}

/**
 * Takes global/pg_control away, so that no start of PostgreSQL works on the directory. Nothing to do when it is away or was never there.
 * @throws WalkbackError DATA_DIRECTORY_IN_USE while a server runs on it
 */
export async function makeUnbootable(path: string): Promise<void> {
  const server = await serverState(path);
  if (server.running) {
    throw new WalkbackError('DATA_DIRECTORY_IN_USE', `A server (process ${server.pid}) still runs on ${path}.`, { hint: 'Stop it first.' });
  }
  await renameControlFile(path, '', abandonedSuffix);
}

/**
 * Removes what a fetch brought that did not come to its end, its records too; the marker stays. pg_control goes first, so that nobody can start what is
 * left meanwhile.
 * @throws WalkbackError DATA_DIRECTORY_IN_USE when the fetch had come to its end, or a server runs on the directory
 */
export async function clearFetchedFiles(path: string): Promise<void> {
  const marker = await readMarker(path);
  const server = await serverState(path);
  if (server.running || marker?.phase !== 'created') {
    throw new WalkbackError(
      'DATA_DIRECTORY_IN_USE',
      `${path} is no unfinished fetch (${marker?.phase ?? 'without a marker'}), so it is not cleared.`,
    );
  }
  await rm(join(path, 'global', 'pg_control'), { force: true });
  for (const name of await readdir(path)) if (name !== restoreDirectoryName) await rm(join(path, name), { recursive: true, force: true });
  const own = restoreDirectoryOf(path);
  for (const name of await readdir(own)) if (name !== markerFileName) await rm(join(own, name), { recursive: true, force: true });
  await syncDirectory(own);
  await syncDirectory(path);
}

/** Undoes makeUnbootable; nothing to do when pg_control is in place. */
export async function makeBootable(path: string): Promise<void> {
  await renameControlFile(path, abandonedSuffix, '');
}

/** Gives global/pg_control another suffix, durably; nothing to do when there is none with the first. */
export async function renameControlFile(path: string, fromSuffix: string, toSuffix: string): Promise<void> {
  const controlFile = join(path, 'global', 'pg_control');
  // When both are there, the one in place is newer: it was fetched again.
  if (fromSuffix !== '' && (await exists(controlFile))) return;
  try {
    await rename(`${controlFile}${fromSuffix}`, `${controlFile}${toSuffix}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await syncDirectory(join(path, 'global'));
}

function refuseWhatIsNotOurs(path: string, state: DataDirectoryState, marker: RestoreMarker): void {
  if (state.kind === 'occupied') {
    throw new WalkbackError('DATA_DIRECTORY_NOT_EMPTY', `${path} is not empty.`, { facts: { dataDirectory: path } });
  }
  if (state.kind === 'running') {
    throw new WalkbackError('DATA_DIRECTORY_IN_USE', `A server (process ${state.pid}) runs on ${path}.`, {
      facts: { dataDirectory: path },
    });
  }
  if (state.kind === 'marked' && state.marker.restoreId !== marker.restoreId) {
    throw new WalkbackError(
      'DATA_DIRECTORY_IN_USE',
      `${path} belongs to the restore "${state.marker.restoreId}" (${state.marker.phase}, made ${state.marker.createdAt}).`,
      { facts: { dataDirectory: path, restoreId: state.marker.restoreId, phase: state.marker.phase } },
    );
  }
}

async function namesIn(path: string): Promise<string[] | 'absent' | 'not-a-directory'> {
  try {
    return await readdir(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return 'absent';
    // What we may not even look into is not ours.
    if (code === 'ENOTDIR' || code === 'EACCES') return 'not-a-directory';
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    // Only its absence matters here.
    return false;
  }
}
