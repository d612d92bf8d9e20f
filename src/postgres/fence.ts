/**
 * The fence around a retired cluster: its directory is kept as it is, and no start of PostgreSQL works on it, whoever tries, until the fence is
 * lifted. Two things make it: a file that says why, and global/pg_control under another name.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { syncDirectory, writeFileDurably } from '../files/durable-file.ts';
import { renameControlFile } from './data-directory.ts';
import { serverState } from './server-state.ts';

/** What the fence says to whom it stops. */
export interface Fence {
  /** The restore that retired the cluster; only its undo lifts the fence. */
  readonly restoreId: string;
  readonly cluster: string;
  /** RFC 3339. */
  readonly fencedAt: string;
  /** RFC 3339: until then nobody should remove the directory. Nothing happens by itself when it has passed. */
  readonly keepUntil: string;
}

const fenceFileName = 'walkback_fence.json';
const fencedSuffix = '.walkback-fenced';

/**
 * Puts the fence up. Safe to repeat: the first fence of a restore stays as it is.
 * @throws WalkbackError DATA_DIRECTORY_IN_USE while a server runs on it, CLUSTER_RETIRED when another restore has fenced it
 */
export async function fenceDirectory(dataDirectory: string, fence: Fence): Promise<Fence> {
  const server = await serverState(dataDirectory);
  if (server.running) {
    throw new WalkbackError('DATA_DIRECTORY_IN_USE', `A server (process ${server.pid}) still runs on ${dataDirectory}.`, {
      hint: 'Stop it first.',
    });
  }
  const there = await readFence(dataDirectory);
  if (there !== undefined && there.restoreId !== fence.restoreId) throw retired(dataDirectory, there);
  // The file stands first: a directory without pg_control always says why.
  if (there === undefined) await writeFileDurably(join(dataDirectory, fenceFileName), `${JSON.stringify(fence, undefined, 2)}\n`);
  await renameControlFile(dataDirectory, '', fencedSuffix);
  return there ?? fence;
}

/**
 * Takes the fence of a restore away; nothing to do where there is none.
 * @throws WalkbackError CLUSTER_RETIRED when the fence is another restore's
 */
export async function liftFence(dataDirectory: string, restoreId: string): Promise<void> {
  const there = await readFence(dataDirectory);
  if (there === undefined) return;
  if (there.restoreId !== restoreId) throw retired(dataDirectory, there);
  await renameControlFile(dataDirectory, fencedSuffix, '');
  await rm(join(dataDirectory, fenceFileName), { force: true });
  await syncDirectory(dataDirectory);
}

/** The fence of a directory; undefined when there is none. @throws WalkbackError DATA_DIRECTORY_DAMAGED when it cannot be understood */
export async function readFence(dataDirectory: string): Promise<Fence | undefined> {
  const path = join(dataDirectory, fenceFileName);
  try {
    const fence = JSON.parse(await readFile(path, 'utf8')) as Fence;
    if (typeof fence.restoreId === 'string' && typeof fence.keepUntil === 'string') return fence;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new WalkbackError('DATA_DIRECTORY_DAMAGED', `${path} is not the fence of a retired cluster.`, { facts: { path } });
}

/** Nobody works on a retired cluster before it is brought back. @throws WalkbackError CLUSTER_RETIRED */
export async function assertNotRetired(dataDirectory: string): Promise<void> {
  const fence = await readFence(dataDirectory);
  if (fence !== undefined) throw retired(dataDirectory, fence);
}

function retired(dataDirectory: string, { cluster, restoreId, fencedAt, keepUntil }: Fence): WalkbackError {
  return new WalkbackError(
    'CLUSTER_RETIRED',
    `${cluster} in ${dataDirectory} was retired by ${restoreId} at ${fencedAt}, and is kept until ${keepUntil}.`,
    {
      hint: `Bring it back with \`walkback undo ${restoreId}\`, or restore from its archive with \`--source leave\`.`,
      facts: { dataDirectory, restoreId, keepUntil },
    },
  );
}
