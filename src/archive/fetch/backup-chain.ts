/**
 * A backup with everything that it builds on: a delta's parent, the parent's, down to a full backup (wal-g:
 * internal/databases/postgres/backup_fetch_handler.go, deltaFetchRecursionOld).
 */
import { WalkbackError } from '../../domain/errors.ts';
import { formatLsn } from '../../domain/lsn.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { damaged, readDocument } from '../documents/stored-document.ts';
import { filesMetadataKey, pgControlTarName, sentinelKey, tarPartitionsPrefix, walEOffsetOfBackupName } from '../layout.ts';
import { parseSentinel, type Sentinel } from '../sentinel.ts';
import { type FileList, readFileList } from './file-list.ts';
import { FileNames } from './file-names.ts';
import { missingInParent } from './level-files.ts';
import { listStoredTars, type Manifest, readManifest, type StoredTars } from './stored-tars.ts';

/** One backup of a chain. */
export interface BackupLevel {
  readonly backup: string;
  readonly sentinel: Sentinel;
  /** The tars that the restore needs. */
  readonly tars: StoredTars;
  /** Undefined: everything in the tars is wanted. */
  readonly list: FileList | undefined;
}

export interface BackupChain {
  /** The full backup first, then each delta on top of the one before. */
  readonly levels: readonly BackupLevel[];
  readonly newest: BackupLevel;
  /** Names of all files of all levels. */
  readonly names: FileNames;
}

/** WAL-G's limit is a setting (WALG_DELTA_MAX_STEPS), usually under ten; a chain of this length was no chain but a mistake. */
const maximumLevels = 1000;

interface ChainReader {
  readonly store: ObjectStore;
  readonly signal: AbortSignal;
  readonly names: FileNames;
}

/**
 * @throws WalkbackError NOT_FOUND without the backup's sentinel, OBJECT_DAMAGED naming what is missing or does not fit together,
 * ARCHIVE_FORMAT_UNSUPPORTED for a delta without a file list
 */
export async function readBackupChain(store: ObjectStore, backup: string, signal: AbortSignal): Promise<BackupChain> {
  const reader: ChainReader = { store, signal, names: new FileNames() };
  const newest = await readLevel(reader, backup, undefined);
  const levels = [newest];
  for (let above = newest; above.sentinel.delta !== undefined;) {
    const { from } = above.sentinel.delta;
    if (levels.length >= maximumLevels || levels.some((level) => level.backup === from))
      throw damaged(sentinelKey(above.backup), `the chain that goes on with ${from} has no end`);
    const parent = await readLevel(reader, from, above);
    assertParent(above, parent, reader.names);
    levels.unshift(parent);
    above = parent;
  }
  assertRoot(newest, levels[0]);
  return { levels, newest, names: reader.names };
}

async function readLevel(reader: ChainReader, backup: string, above: BackupLevel | undefined): Promise<BackupLevel> {
  const { store, signal } = reader;
  const sentinel = await readDocument(store, sentinelKey(backup), { parse: parseSentinel, signal });
  if (sentinel === undefined && above === undefined)
    throw new WalkbackError('NOT_FOUND', `${store.url} holds no base backup named ${backup}.`, { facts: { backup } });
  if (sentinel === undefined) throw damaged(sentinelKey(backup), `it is missing, and ${above?.backup} is a delta on top of that backup`);
  const manifest = await readManifest(store, backup, signal);
  const list = await readList(reader, { backup, sentinel, manifest, above });
  if (list === undefined && sentinel.delta !== undefined) throw withoutList(backup);
  const tars = await listStoredTars(store, {
    backup,
    manifest,
    named: [...(list?.tars.keys() ?? [])].filter((name) => name !== ''),
    signal,
  });
  return { backup, sentinel, list, tars: neededTars(tars, { backup, list, above }) };
}

async function readList(
  { store, names, signal }: ChainReader,
  level: Pick<BackupLevel, 'backup' | 'sentinel'> & { readonly manifest: Manifest; readonly above: BackupLevel | undefined },
): Promise<FileList | undefined> {
  const { backup, sentinel, manifest } = level;
  if (sentinel.filesMetadataDisabled) return undefined;
  const key = sentinel.hasFileList ? sentinelKey(backup) : filesMetadataKey(backup);
  const expected = manifest?.get(key);
  const list = await readFileList({ store, key, expected, names, above: level.above?.list?.files, signal });
  const isMissing = list === undefined && (expected !== undefined || (sentinel.version ?? 0) >= 2);
  if (isMissing && (await store.head(key, { signal })) === undefined) throw damaged(key, 'it is missing');
  return list;
}

/** What is listed and not there is missing; what holds nothing that a delta above still needs is not fetched. */
function neededTars(
  tars: StoredTars,
  { backup, list, above }: Pick<BackupLevel, 'backup' | 'list'> & { readonly above: BackupLevel | undefined },
): StoredTars {
  const present = new Set([...tars.parts, tars.labels, tars.pgControl].map((tar) => tar?.fileName));
  for (const [name, { memberCount, neededCount }] of list?.tars ?? [])
    if (neededCount > 0 && !present.has(name))
      throw damaged(`${tarPartitionsPrefix(backup)}${name}`, `it is missing, and ${memberCount} files of the backup were in it`);
  const controlTar = `${tarPartitionsPrefix(backup)}${pgControlTarName}`;
  if (above === undefined && tars.pgControl === undefined && walEOffsetOfBackupName(backup) === undefined)
    throw damaged(controlTar, 'it is missing');
  if (above === undefined) return tars;
  const isNeeded = (fileName: string): boolean => (list?.tars.get(fileName)?.neededCount ?? Infinity) > 0;
  // Without a list nothing of the parent counts as being in it, so the delta brings every file itself (walg-format, 6.3).
  return {
    parts: list === undefined ? [] : tars.parts.filter(({ fileName }) => isNeeded(fileName)),
    labels: undefined,
    pgControl: undefined,
  };
}

function assertParent(delta: BackupLevel, parent: BackupLevel, names: FileNames): void {
  const { delta: origin } = delta.sentinel;
  const { startLsn } = parent.sentinel;
  if (origin !== undefined && startLsn !== undefined && origin.startLsn !== startLsn)
    throw damaged(
      sentinelKey(parent.backup),
      `it starts at ${formatLsn(startLsn)}, and the delta ${delta.backup} was made on top of a backup of that name that started at ${formatLsn(origin.startLsn)}`,
    );
  const missing = delta.list === undefined ? undefined : missingInParent(names, delta.list.files, parent.list?.files);
  if (missing !== undefined)
    throw damaged(
      parent.list?.key ?? filesMetadataKey(parent.backup),
      `it does not name ${missing}, which the delta ${delta.backup} has from there`,
    );
}

function assertRoot(newest: BackupLevel, root: BackupLevel | undefined): void {
  const { delta } = newest.sentinel;
  if (delta !== undefined && delta.fullName !== root?.backup)
    throw damaged(sentinelKey(newest.backup), `it names ${delta.fullName} as its full backup, and its chain leads to ${root?.backup}`);
}

function withoutList(backup: string): WalkbackError {
  return new WalkbackError(
    'ARCHIVE_FORMAT_UNSUPPORTED',
    `${backup} is a delta backup without a file list: which of its files are whole and which are changed pages is written nowhere.`,
    { facts: { backup }, hint: 'Restore the full backup that it builds on, or another one.' },
  );
}
