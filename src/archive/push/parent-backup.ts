/** Finds the backup that an incremental one can build on (wal-g: internal/databases/postgres/delta_backup_configurator.go); in doubt there is none. */
import { type BaseBackup, majorOf } from '../../domain/base-backup.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { type Lsn, parseLsn } from '../../domain/lsn.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { BackupStart } from '../base-backup-push.ts';
import { listBaseBackups } from '../catalog.ts';
import { readDocument } from '../documents/stored-document.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { incrementalBackupName, sentinelKey } from '../layout.ts';
import { type DeltaOrigin, parseSentinel, type Sentinel } from '../sentinel.ts';
import { ParentFiles } from './parent-files.ts';

/** What an incremental backup builds on. */
export interface IncrementalParent {
  readonly origin: DeltaOrigin;
  readonly files: ParentFiles;
  /** By the source's clock: the parent read its files later. */
  readonly startedMs: number;
}

/** A parent and the name of the backup on it, or why the backup has to be a full one. */
export type ParentChoice = { readonly parent: IncrementalParent; readonly name: string } | { readonly fullBecause: string };

/** Which backups may be built on. */
export interface ParentOptions {
  /** The backup that has begun; its name is that of a full one. */
  readonly start: BackupStart;
  /** Incremental backups between a full one and its next. */
  readonly maximumChain: number;
  readonly signal: AbortSignal;
  /** Default: not encrypted. */
  readonly cipher?: ObjectCipher | undefined;
}

/** The newest backup of the archive, if everything speaks for it. @throws WalkbackError what the store throws */
export async function chooseParent(store: ObjectStore, options: ParentOptions): Promise<ParentChoice> {
  const { signal, cipher, start } = options;
  const { backups } = await listBaseBackups(store, { signal, cipher });
  const newest = backups.at(-1);
  if (newest === undefined) return { fullBecause: 'the archive holds no base backup yet' };
  const doubt = doubtAbout(newest, start);
  if (doubt !== undefined) return { fullBecause: `${newest.name} ${doubt}` };
  const sentinel = await readDocument(store, sentinelKey(newest.name), { parse: parseSentinel, signal });
  const stepCount = (sentinel?.delta?.stepCount ?? 0) + 1;
  if (sentinel === undefined) return { fullBecause: `${newest.name} was removed meanwhile` };
  if (stepCount > options.maximumChain) return { fullBecause: `${options.maximumChain} incremental backups are on each other already` };
  const fullName = fullNameOf(newest, sentinel, backups);
  if (fullName === undefined) return { fullBecause: `a backup that ${newest.name} needs is missing or damaged` };
  const files = await filesOf(store, newest.name, { signal, sentinel });
  if (typeof files === 'string') return { fullBecause: `${newest.name} ${files}` };
  const origin = { from: newest.name, fullName, startLsn: parseLsn(newest.startLsn), stepCount };
  const name = incrementalBackupName(start.name, newest.name);
  return { parent: { origin, files, startedMs: Date.parse(newest.startTime) }, name };
}

/** Of a backup that does not say where it ended. */
const maximumLsn = 2n ** 64n;

/** What speaks against building on the backup, as the end of a sentence. */
function doubtAbout(parent: BaseBackup, start: BackupStart): string | undefined {
  if (parent.systemIdentifier !== start.systemIdentifier) return 'is of another cluster, or does not say of which';
  if (majorOf(parent.pgVersion) !== majorOf(start.pgVersion)) return `is of PostgreSQL ${majorOf(parent.pgVersion)}`;
  if (parent.timeline !== start.timeline) return `is of timeline ${parent.timeline}, and this one of ${start.timeline}`;
  if ((endOf(parent) ?? maximumLsn) > parseLsn(start.startLsn)) return 'ended after this one began';
  if (parent.isPermanent) return 'is permanent, which this one is not';
  if (parent.damagedBlockCount !== undefined) return 'holds damaged pages';
  return undefined;
}

function endOf({ finishLsn }: BaseBackup): Lsn | undefined {
  return finishLsn === undefined ? undefined : parseLsn(finishLsn);
}

/** The full backup at the root, when the whole chain is there. */
function fullNameOf(newest: BaseBackup, sentinel: Sentinel, backups: readonly BaseBackup[]): string | undefined {
  const byName = new Map(backups.map((backup) => [backup.name, backup]));
  let current: BaseBackup | undefined = newest;
  for (let step = 0; current?.deltaFrom !== undefined && step <= backups.length; step += 1) {
    current = byName.get(current.deltaFrom);
    if (current?.damagedBlockCount !== undefined) return undefined;
  }
  if (current === undefined || current.deltaFrom !== undefined) return undefined;
  return sentinel.delta === undefined || sentinel.delta.fullName === current.name ? current.name : undefined;
}

/** The parent's file list, or what is wrong with it. */
async function filesOf(
  store: ObjectStore,
  name: string,
  { sentinel, signal }: { readonly sentinel: Sentinel; readonly signal: AbortSignal },
): Promise<ParentFiles | string> {
  if (sentinel.filesMetadataDisabled) return 'has no file list';
  try {
    const files = await ParentFiles.read(store, name, signal);
    if (files?.hasDamage === true) return 'holds damaged pages';
    return files ?? 'has no file list';
  } catch (error) {
    // Without the list there is nothing to build on; what the store throws is no property of the backup.
    if (error instanceof WalkbackError && error.code === 'OBJECT_DAMAGED') return 'has a damaged file list';
    throw error;
  }
}
