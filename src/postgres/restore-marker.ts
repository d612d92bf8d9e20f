/** The marker that says whose a data directory is while it is being restored; it stays afterwards as evidence. */
import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { makeDirectoryDurably, syncDirectory, writeFileDurably, writeSynced } from '../files/durable-file.ts';

/** Our own directory inside the data directory; base backups leave it out. */
export const restoreDirectoryName = 'walkback_restore';

/** How far a restore is, for a person who finds the directory. */
export type RestorePhase = 'created' | 'fetched' | 'recovering' | 'recovered' | 'open' | 'abandoned';

/** Whose the directory is. */
export interface RestoreMarker {
  /** The restore, over all its attempts. */
  readonly restoreId: string;
  readonly runId: string;
  /** Name of the restored cluster. */
  readonly name: string;
  readonly createdAt: string;
  readonly phase: RestorePhase;
}

/** Its name in our own directory. */
export const markerFileName = 'marker.json';

/** Path of our own directory inside a data directory. */
export function restoreDirectoryOf(dataDirectory: string): string {
  return join(dataDirectory, restoreDirectoryName);
}

/** Reads the marker; undefined when there is none. @throws WalkbackError DATA_DIRECTORY_DAMAGED when it cannot be understood */
export async function readMarker(dataDirectory: string): Promise<RestoreMarker | undefined> {
  const path = join(restoreDirectoryOf(dataDirectory), markerFileName);
  try {
    return parseMarker(await readFile(path, 'utf8'), path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Puts the marker where none is; false when there is one already. Of two that try at once, one wins. */
export async function placeMarker(dataDirectory: string, marker: RestoreMarker): Promise<boolean> {
  const directory = restoreDirectoryOf(dataDirectory);
  await makeDirectoryDurably(directory);
  const unnamed = join(directory, `.marker-${randomUUID()}`);
  await writeSynced(unnamed, renderMarker(marker));
  try {
    await link(unnamed, join(directory, markerFileName));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(unnamed, { force: true });
    await syncDirectory(directory);
  }
}

/** Changes the marker. @throws WalkbackError INVALID_REQUEST when there is none */
export async function updateMarker(dataDirectory: string, change: Partial<Pick<RestoreMarker, 'phase' | 'runId'>>): Promise<RestoreMarker> {
  const marker = await readMarker(dataDirectory);
  if (marker === undefined) throw new WalkbackError('INVALID_REQUEST', `${dataDirectory} carries no marker of a restore.`);
  const changed = { ...marker, ...change };
  await writeFileDurably(join(restoreDirectoryOf(dataDirectory), markerFileName), renderMarker(changed));
  return changed;
}

/** Are there only remains of a marker that was never placed? */
export async function holdsOnlyUnplacedMarker(dataDirectory: string): Promise<boolean> {
  const names = await readdir(restoreDirectoryOf(dataDirectory));
  return names.every((name) => name.startsWith('.marker-'));
}

function renderMarker(marker: RestoreMarker): string {
  return `${JSON.stringify(marker, undefined, 2)}\n`;
}

function parseMarker(text: string, path: string): RestoreMarker {
  try {
    const value = JSON.parse(text) as RestoreMarker;
    if (typeof value.restoreId === 'string' && typeof value.phase === 'string') return value;
  } catch (cause) {
    throw new WalkbackError('DATA_DIRECTORY_DAMAGED', `${path} is not JSON.`, { facts: { path }, cause });
  }
  throw new WalkbackError('DATA_DIRECTORY_DAMAGED', `${path} is not the marker of a restore.`, { facts: { path } });
}
