/** The base backups of an archive, from what their documents say; the store's own times play no part. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../domain/lsn.ts';
import type { WalSegmentName } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { type BackupMetadata, parseMetadata } from './documents/metadata-json.ts';
import { damaged, readDocument, signalOption } from './documents/stored-document.ts';
import { backupOfSentinelKey, baseBackupsPrefix, metadataKey, sentinelKey, timelineOfBackupName } from './layout.ts';
import { mapParallel } from './parallel.ts';
import { parseSentinel, type Sentinel } from './sentinel.ts';

/** A backup that has a sentinel and cannot be used. */
export interface DamagedBackup {
  readonly name: string;
  readonly reason: string;
}

export interface BaseBackupListing {
  /** By finish position, then finish time: the newest is the last. */
  readonly backups: readonly BaseBackup[];
  readonly damaged: readonly DamagedBackup[];
}

/** Documents read at a time. */
const readConcurrency = 8;
/** More backups than anybody keeps: one every hour for a year. */
const maximumBackups = 10_000;

/** Every base backup of the archive: one listing, two small reads each. */
export async function listBaseBackups(store: ObjectStore, options: { readonly signal?: AbortSignal } = {}): Promise<BaseBackupListing> {
  const names = await sentinelNames(store, options);
  const read = await mapParallel(names, { concurrency: readConcurrency, signal: options.signal }, async (name, signal) =>
    readOrExplain(store, name, signal),
  );
  const listing = {
    backups: read.filter((backup): backup is BaseBackup => backup !== undefined && !('reason' in backup)),
    damaged: read.filter((backup): backup is DamagedBackup => backup !== undefined && 'reason' in backup),
  };
  return { ...listing, backups: listing.backups.sort(byFinish) };
}

/**
 * One base backup.
 * @returns undefined when it has no sentinel
 * @throws WalkbackError OBJECT_DAMAGED when its documents do not parse or contradict each other, ARCHIVE_FORMAT_UNSUPPORTED for WAL-E's
 */
export async function readBaseBackup(
  store: ObjectStore,
  name: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BaseBackup | undefined> {
  const sentinel = await readDocument(store, sentinelKey(name), { parse: parseSentinel, ...options });
  if (sentinel === undefined) return undefined;
  const metadata = await readDocument(store, metadataKey(name), { parse: parseMetadata, ...options });
  return toBaseBackup(name, sentinel, metadata);
}

async function sentinelNames(store: ObjectStore, options: { readonly signal?: AbortSignal }): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { key } of store.list(baseBackupsPrefix, { shallow: true, ...options })) {
    const name = backupOfSentinelKey(key);
    if (name !== undefined) names.push(name);
    if (names.length > maximumBackups)
      throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${store.url} holds more than ${maximumBackups} base backups.`);
  }
  return names;
}

/** A backup that cannot be used must not hide the others; a store that does not answer is no property of the backup. */
async function readOrExplain(store: ObjectStore, name: string, signal: AbortSignal): Promise<BaseBackup | DamagedBackup | undefined> {
  try {
    return await readBaseBackup(store, name, signalOption(signal));
  } catch (error) {
    const isOfBackup = error instanceof WalkbackError && (error.code === 'OBJECT_DAMAGED' || error.code === 'ARCHIVE_FORMAT_UNSUPPORTED');
    if (!isOfBackup) throw error;
    return { name, reason: error.message };
  }
}

function toBaseBackup(name: string, sentinel: Sentinel, metadata: BackupMetadata | undefined): BaseBackup {
  const timeline = timelineOfBackupName(name);
  if (timeline === undefined) throw damaged(sentinelKey(name), 'its name is not that of a base backup');
  if (sentinel.startLsn === undefined) throw withoutPosition(name);
  if (metadata === undefined) throw damaged(metadataKey(name), 'it is missing');
  if (metadata.startLsn !== sentinel.startLsn) throw damaged(metadataKey(name), 'its start position is not the one in the sentinel');
  const finishLsn = sentinel.finishLsn ?? metadata.finishLsn;
  return {
    name,
    timeline,
    startLsn: formatLsn(sentinel.startLsn),
    finishLsn: finishLsn === undefined ? undefined : formatLsn(finishLsn),
    startTime: metadata.startTime,
    finishTime: metadata.finishTime,
    pgVersion: metadata.pgVersion,
    systemIdentifier: (sentinel.systemIdentifier ?? metadata.systemIdentifier)?.toString(),
    hostname: metadata.hostname,
    dataDirectory: metadata.dataDirectory,
    uncompressedBytes: metadata.uncompressedBytes,
    compressedBytes: metadata.compressedBytes,
    isPermanent: metadata.isPermanent,
    deltaFrom: sentinel.delta?.from,
    startSegment: name.slice('base_'.length, 'base_'.length + 24) as WalSegmentName,
  };
}

function withoutPosition(name: string): WalkbackError {
  return new WalkbackError(
    'ARCHIVE_FORMAT_UNSUPPORTED',
    `The sentinel of ${name} names no start position, as in backups that WAL-E wrote.`,
    {
      facts: { backup: name },
    },
  );
}

function byFinish(one: BaseBackup, other: BaseBackup): number {
  const [first, second] = [finishOf(one), finishOf(other)];
  if (first !== second) return first < second ? -1 : 1;
  return Date.parse(one.finishTime) - Date.parse(other.finishTime) || (one.name < other.name ? -1 : 1);
}

function finishOf({ finishLsn, startLsn }: BaseBackup): Lsn {
  return parseLsn(finishLsn ?? startLsn);
}
