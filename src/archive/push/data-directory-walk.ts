/**
 * Walks a running server's data directory (PostgreSQL manual, "Backing Up the Data Directory"; wal-g: bundle.go, ExcludedFilenames).
 * Server code decides what can be left out: src/backend/backup/basebackup.c, excludeDirContents and excludeFiles.
 */
import type { BigIntStats, Dirent } from 'node:fs';
import { lstat, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../../domain/errors.ts';
import type { Tablespace } from '../documents/tablespace-spec.ts';
import { isAbsent } from '../../files/system-error.ts';
import { restoredTablespacesDirectoryName, restoreStateDirectoryName } from '../layout.ts';

/** A file or directory that belongs to the backup. */
export interface WalkedFile {
  /** Its name in the tar, `/base/1/1259`. */
  readonly memberName: string;
  /** Where it is read. */
  readonly path: string;
  readonly type: 'file' | 'directory';
  readonly mode: number;
  /** By lstat; 0 for a directory. */
  readonly sizeBytes: number;
  /** By lstat before the file is read. */
  readonly changedNs: bigint;
}

const tablespacesDirectory = '/pg_tblspc';
/** Contents that a server makes anew or that must not come along; the directories themselves are needed. */
const emptiedDirectories: ReadonlySet<string> = new Set(
  ['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans', 'log', 'pg_log'].map(
    (name) => `/${name}`,
  ),
);
/** pg_control goes into a tar of its own; the labels of this backup come from pg_backup_stop. */
const excludedMembers: ReadonlySet<string> = new Set(
  [
    'global/pg_control',
    'postmaster.pid',
    'postmaster.opts',
    'postgresql.auto.conf.tmp',
    'current_logfiles.tmp',
    'recovery.conf',
    'recovery.signal',
    'standby.signal',
    'backup_label',
    'backup_label.old',
    'tablespace_map',
    'tablespace_map.old',
    'backup_manifest',
    restoreStateDirectoryName,
    restoredTablespacesDirectoryName,
  ].map((name) => `/${name}`),
);
/** Temporary files, the relation cache, and files of temporary relations (src/backend/storage/file/reinit.c, looks_like_temp_rel_name). */
const excludedNamePattern = /^(pgsql_tmp.*|pg_internal\.init.*|t\d+_\d+(_(fsm|vm|init))?(\.\d+)?)$/;
/** lstat calls under way at a time. */
const statConcurrency = 64;
/** PostgreSQL's own trees have seven levels; a link that leads back into itself would go on for ever. */
const maximumDepth = 32;

/**
 * Every directory and file of the backup, a directory before what it holds. What vanishes meanwhile is left out, as PostgreSQL's WAL brings it back
 * or takes it away. Links are followed: their content would be missing after a restore elsewhere.
 * @param options.pgMajor tells which folders of a tablespace belong to this server
 */
export async function* walkDataDirectory(
  dataDirectory: string,
  options: { readonly pgMajor: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<WalkedFile> {
  const root = await describe(dataDirectory, '/');
  if (root?.type !== 'directory') throw new WalkbackError('BACKUP_FAILED', `${dataDirectory} is not a directory.`);
  yield root;
  const open = [root];
  for (let directory = open.pop(); directory !== undefined; directory = open.pop()) {
    options.signal?.throwIfAborted();
    const below: WalkedFile[] = [];
    for await (const file of walkOne(directory, options.pgMajor)) {
      if (file.type === 'directory' && !emptiedDirectories.has(file.memberName)) below.push(file);
      yield file;
    }
    for (const child of below.reverse()) open.push(child);
  }
}

/** The tablespaces outside PGDATA: links in pg_tblspc. */
export async function findTablespaces(dataDirectory: string): Promise<readonly Tablespace[]> {
  const directory = join(dataDirectory, tablespacesDirectory);
  const links = (await readDirectory(directory)).filter((entry) => entry.isSymbolicLink());
  return Promise.all(
    links.map(async ({ name }) => ({ oid: name, location: (await readlink(join(directory, name))).replace(/(?<=.)\/+$/, '') })),
  );
}

/** A directory may hold a million files: only their names are held. */
async function* walkOne(directory: WalkedFile, pgMajor: number): AsyncGenerator<WalkedFile> {
  const prefix = directory.memberName === '/' ? '' : directory.memberName;
  if (prefix.split('/').length > maximumDepth)
    throw new WalkbackError('BACKUP_FAILED', `${directory.path} lies more than ${maximumDepth} levels deep.`);
  const names = (await readNames(directory.path)).sort();
  const unlogged = unloggedRelations(names);
  const wanted = names.filter((name) => isWanted(prefix, name, pgMajor) && !isEmptiedByRecovery(name, unlogged));
  for (let index = 0; index < wanted.length; index += statConcurrency) {
    const batch = wanted.slice(index, index + statConcurrency);
    const described = await Promise.all(batch.map(async (name) => describe(join(directory.path, name), `${prefix}/${name}`)));
    yield* described.filter((file) => file !== undefined);
  }
}

/** Numbers of the relations that have an init fork. */
function unloggedRelations(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.filter((name) => /^\d+_init$/.test(name)).map((name) => name.slice(0, -'_init'.length)));
}

/** Recovery makes an unlogged relation anew of its init fork (basebackup.c, "Exclude all forks for unlogged tables except the init fork"). */
function isEmptiedByRecovery(name: string, unlogged: ReadonlySet<string>): boolean {
  const relation = unlogged.size === 0 ? undefined : /^(\d+)(?:_(?:fsm|vm))?(?:\.\d+)?$/.exec(name)?.[1];
  return relation !== undefined && unlogged.has(relation);
}

function isWanted(prefix: string, name: string, pgMajor: number): boolean {
  if (name.includes('\uFFFD')) throw new WalkbackError('BACKUP_FAILED', `A file name in ${prefix}/ is not UTF-8: ${name}`);
  if (excludedMembers.has(`${prefix}/${name}`) || excludedNamePattern.test(name)) return false;
  // A tablespace's location may hold the folders of other servers too (TABLESPACE_VERSION_DIRECTORY).
  const isTablespace = prefix.startsWith(`${tablespacesDirectory}/`) && prefix.split('/').length === 3;
  return !isTablespace || name.startsWith(`PG_${pgMajor}_`);
}

/** @returns undefined for what vanished, and for sockets and the like */
async function describe(path: string, memberName: string): Promise<WalkedFile | undefined> {
  const status = await statusOf(path, lstat);
  const followed = status?.isSymbolicLink() === true ? await statusOf(path, stat) : status;
  if (followed === undefined || !(followed.isFile() || followed.isDirectory())) return undefined;
  const type = followed.isDirectory() ? 'directory' : 'file';
  return {
    memberName,
    path,
    type,
    mode: Number(followed.mode & 0o7777n),
    sizeBytes: type === 'file' ? Number(followed.size) : 0,
    changedNs: followed.mtimeNs,
  };
}

async function statusOf(
  path: string,
  read: (path: string, options: { bigint: true }) => Promise<BigIntStats>,
): Promise<BigIntStats | undefined> {
  try {
    return await read(path, { bigint: true });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function readDirectory(path: string): Promise<readonly Dirent[]> {
  return await unlessDropped(() => readdir(path, { withFileTypes: true }));
}

async function readNames(path: string): Promise<string[]> {
  return await unlessDropped(() => readdir(path));
}

/** Nothing of a database that was dropped since its directory was seen. */
async function unlessDropped<T>(read: () => Promise<T[]>): Promise<T[]> {
  try {
    return await read();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}
