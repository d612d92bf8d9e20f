/** PostgreSQL's list of files to archive: `<name>.ready` in pg_wal/archive_status (src/backend/postmaster/pgarch.c). */
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { walFileKind } from '../../domain/wal-segment.ts';

const readySuffix = '.ready';
const doneSuffix = '.done';

/** Where PostgreSQL keeps the list. */
export function statusDirectoryOf(dataDirectory: string): string {
  return join(dataDirectory, 'pg_wal', 'archive_status');
}

/** The name that an entry of the list says is ready; undefined for any other entry. */
export function nameReady(entry: string | undefined): string | undefined {
  return nameBefore(readySuffix, entry);
}

/** The name that an entry of the list says is archived; undefined for any other entry. */
export function nameDone(entry: string | undefined): string | undefined {
  return nameBefore(doneSuffix, entry);
}

function nameBefore(suffix: string, entry: string | undefined): string | undefined {
  const name = entry?.endsWith(suffix) === true ? entry.slice(0, -suffix.length) : '';
  return walFileKind(name) === undefined ? undefined : name;
}

/** What waits to be archived. */
export interface Backlog {
  readonly count: number;
  /** How many of them are whole segments. */
  readonly segmentCount: number;
  /** Age of the first in line; null when nothing waits. */
  readonly oldestAgeMs: number | null;
}

/** At most `limitCount` names that wait, in the order in which PostgreSQL asks for them: history files first, then by name. */
export async function readyNames(dataDirectory: string, limitCount: number): Promise<readonly string[]> {
  const names = await allReadyNames(dataDirectory);
  return names.sort(inArchivingOrder).slice(0, limitCount);
}

/** Does the file still wait? PostgreSQL renames `.ready` to `.done` once it was told that the file is archived. */
export async function isReady(dataDirectory: string, name: string): Promise<boolean> {
  return (await readySince(dataDirectory, name)) !== undefined;
}

/** Counts what waits. */
export async function readBacklog(dataDirectory: string): Promise<Backlog> {
  const names = await allReadyNames(dataDirectory);
  const oldest = names.sort()[0];
  const since = oldest === undefined ? undefined : await readySince(dataDirectory, oldest);
  const segmentCount = names.filter((name) => walFileKind(name) === 'segment').length;
  return { count: names.length, segmentCount, oldestAgeMs: since === undefined ? null : Math.max(0, Date.now() - since) };
}

async function allReadyNames(dataDirectory: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of await opendir(statusDirectoryOf(dataDirectory))) {
    const name = nameReady(entry.name);
    if (name !== undefined) names.push(name);
  }
  return names;
}

/** When the file began to wait, in milliseconds of the epoch; undefined when it does not wait. */
async function readySince(dataDirectory: string, name: string): Promise<number | undefined> {
  try {
    return (await stat(join(statusDirectoryOf(dataDirectory), `${name}${readySuffix}`))).mtimeMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function inArchivingOrder(left: string, right: string): number {
  const leftIsHistory = walFileKind(left) === 'history';
  if (leftIsHistory !== (walFileKind(right) === 'history')) return leftIsHistory ? -1 : 1;
  return left < right ? -1 : 1;
}
