/** The base backups of an archive, from what their documents say; the store's own times play no part. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { type ErrorCode, WalkbackError } from '../domain/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../domain/lsn.ts';
import type { UnusableBackup } from '../domain/unusable-backups.ts';
import { defaultWalSegmentBytes } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { describeBackup } from './described-backup.ts';
import { type BackupMetadata, parseMetadata } from './documents/metadata-json.ts';
import { damaged, readDocument, signalOption } from './documents/stored-document.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import {
  backupOfSentinelKey,
  baseBackupsPrefix,
  metadataKey,
  sentinelKey,
  startSegmentOfBackupName,
  timelineOfBackupName,
} from './layout.ts';
import { mapParallel } from './parallel.ts';
import { parseSentinel, type Sentinel } from './sentinel.ts';
import { createWalArchive } from './wal-archive.ts';

export interface BaseBackupListing {
  /** By finish position, then finish time: the newest is the last. */
  readonly backups: readonly BaseBackup[];
  readonly damaged: readonly UnusableBackup[];
}

/** Documents read at a time. */
const readConcurrency = 8;
/** What is wrong with one backup, and not with the store. */
const reasonsOfBackup: ReadonlySet<ErrorCode> = new Set(['OBJECT_DAMAGED', 'ARCHIVE_FORMAT_UNSUPPORTED', 'DECRYPTION_FAILED']);
/** More backups than anybody keeps: one every hour for a year. */
const maximumBackups = 10_000;

/** How a catalogue is read. */
export interface CatalogOptions {
  readonly signal?: AbortSignal | undefined;
  /** For backups whose facts lie in the WAL: those of WAL-E, and of WAL-G before 2.0. Default: not encrypted. */
  readonly cipher?: ObjectCipher | undefined;
}

/** Every base backup of the archive: one listing, two small reads each. */
export async function listBaseBackups(store: ObjectStore, options: CatalogOptions = {}): Promise<BaseBackupListing> {
  const names = await sentinelNames(store, options.signal);
  const read = await mapParallel(names, { concurrency: readConcurrency, signal: options.signal }, async (name, signal) =>
    readOrExplain(store, name, { ...options, signal }),
  );
  const listing = {
    backups: read.filter((backup): backup is BaseBackup => backup !== undefined && !('reason' in backup)),
    damaged: read.filter((backup): backup is UnusableBackup => backup !== undefined && 'reason' in backup),
  };
  return { ...listing, backups: listing.backups.sort(byFinish) };
}

/**
 * One base backup.
 * @returns undefined when it has no sentinel
 * @throws WalkbackError OBJECT_DAMAGED when its documents do not parse or contradict each other, ARCHIVE_FORMAT_UNSUPPORTED when nothing says
 * when it ended, DECRYPTION_FAILED
 */
export async function readBaseBackup(
  store: ObjectStore,
  name: string,
  { signal, cipher }: CatalogOptions = {},
): Promise<BaseBackup | undefined> {
  const sentinel = await readDocument(store, sentinelKey(name), { parse: parseSentinel, ...signalOption(signal) });
  if (sentinel === undefined) return undefined;
  const metadata = await readDocument(store, metadataKey(name), { parse: parseMetadata, ...signalOption(signal) });
  if (metadata !== undefined) return toBaseBackup(name, sentinel, metadata);
  const wal = createWalArchive(store, { compression: 'zstd', cipher, segmentBytes: defaultWalSegmentBytes });
  return toBaseBackup(name, sentinel, await describeBackup(name, sentinel, { store, wal, signal }));
}

async function sentinelNames(store: ObjectStore, signal: AbortSignal | undefined): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { key } of store.list(baseBackupsPrefix, { shallow: true, ...signalOption(signal) })) {
    const name = backupOfSentinelKey(key);
    if (name !== undefined) names.push(name);
    if (names.length > maximumBackups)
      throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${store.url} holds more than ${maximumBackups} base backups.`);
  }
  return names;
}

/** A backup that cannot be used must not hide the others; a store that does not answer is no property of the backup. */
async function readOrExplain(store: ObjectStore, name: string, options: CatalogOptions): Promise<BaseBackup | UnusableBackup | undefined> {
  try {
    return await readBaseBackup(store, name, options);
  } catch (error) {
    if (!(error instanceof WalkbackError) || !reasonsOfBackup.has(error.code)) throw error;
    const { code, message: reason, facts } = error;
    const key = typeof facts['key'] === 'string' ? facts['key'] : null;
    return { name, key, reason, code, finishTime: await finishTimeInOther(store, name, options.signal) };
  }
}

/** When a backup ended, by the one of its two documents that is sound; null when both are, because then they contradict each other. */
async function finishTimeInOther(store: ObjectStore, name: string, signal: AbortSignal | undefined): Promise<string | null> {
  const read = await Promise.allSettled([
    readDocument(store, sentinelKey(name), { parse: parseSentinel, ...signalOption(signal) }),
    readDocument(store, metadataKey(name), { parse: parseMetadata, ...signalOption(signal) }),
  ]);
  // A failure of the store was told by the reading before; here it only means that nothing is known.
  const sound = read.flatMap((document) => (document.status === 'fulfilled' ? [document.value] : []));
  return sound.length === 1 ? (sound[0]?.finishTime ?? null) : null;
}

function toBaseBackup(name: string, sentinel: Sentinel, metadata: BackupMetadata): BaseBackup {
  const timeline = timelineOfBackupName(name);
  if (timeline === undefined) throw damaged(sentinelKey(name), 'its name is not that of a base backup');
  if (sentinel.startLsn !== undefined && metadata.startLsn !== sentinel.startLsn)
    throw damaged(metadataKey(name), 'its start position is not the one in the sentinel');
  const finishLsn = sentinel.finishLsn ?? metadata.finishLsn;
  return {
    name,
    timeline,
    startLsn: formatLsn(metadata.startLsn),
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
    ...(sentinel.delta === undefined || sentinel.dataCatalogBytes === undefined ? {} : { restoredBytes: sentinel.dataCatalogBytes }),
    startSegment: startSegmentOfBackupName(name),
    ...(sentinel.damagedBlockCount === undefined ? {} : { damagedBlockCount: sentinel.damagedBlockCount }),
  };
}

function byFinish(one: BaseBackup, other: BaseBackup): number {
  const [first, second] = [finishOf(one), finishOf(other)];
  if (first !== second) return first < second ? -1 : 1;
  return Date.parse(one.finishTime) - Date.parse(other.finishTime) || (one.name < other.name ? -1 : 1);
}

function finishOf({ finishLsn, startLsn }: BaseBackup): Lsn {
  return parseLsn(finishLsn ?? startLsn);
}
