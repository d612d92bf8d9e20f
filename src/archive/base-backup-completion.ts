/** What makes uploaded data a base backup, and what clears away data that never became one. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { parseLsn } from '../domain/lsn.ts';
import { type ObjectStore, readObject } from '../storage/object-store.ts';
import type { UploadedBaseBackup } from './base-backup-push.ts';
import { type BackupMetadata, stringifyMetadata } from './documents/metadata-json.ts';
import { sealJson } from './documents/sealed-json.ts';
import { possibleOrphans } from './possible-orphans.ts';
import { putDocument, signalOption } from './documents/stored-document.ts';
import { backupPrefix, manifestKey, metadataKey, sentinelKey, sourceRecordKey } from './layout.ts';
import { type DeltaOrigin, stringifySentinel } from './sentinel.ts';

/** A sentinel is a few hundred bytes; with a thousand tablespaces some more. */
const maximumSentinelBytes = 1024 * 1024;
/** Keys of one delete request. */
const deleteBatchKeys = 1000;

/**
 * Writes metadata.json and then, last of all, the sentinel: from here on the backup exists. Doing it again for the same backup is harmless.
 * @throws WalkbackError BACKUP_FAILED when the sentinel of another backup has the name already
 */
export async function completeBaseBackup(
  store: ObjectStore,
  uploaded: UploadedBaseBackup,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BaseBackup> {
  const { backup } = uploaded;
  const metadata = metadataOf(backup);
  const sentinel = Buffer.from(
    sealJson(
      stringifySentinel(metadata, {
        tablespaces: uploaded.tablespaces ?? undefined,
        filesMetadataDisabled: uploaded.filesMetadataDisabled,
        dataCatalogBytes: uploaded.dataCatalogBytes,
        damagedBlockCount: backup.damagedBlockCount,
        delta: deltaOf(uploaded),
      }),
    ),
  );
  const key = sentinelKey(backup.name);
  const existing = await readObject(store, key, { maximumBytes: maximumSentinelBytes, ...options });
  if (existing?.equals(sentinel) === true) return backup;
  if (existing !== undefined) throw nameTaken(store, backup.name);
  await putDocument(store, metadataKey(backup.name), { text: stringifyMetadata(metadata), ...options });
  const put = await store.put(key, sentinel, { ifAbsent: true, ...options });
  if (put !== 'exists') return backup;
  const winner = await readObject(store, key, { maximumBytes: maximumSentinelBytes, ...options });
  if (winner?.equals(sentinel) !== true) throw nameTaken(store, backup.name);
  return backup;
}

/** How thoroughly a name is swept. */
export interface SweepOptions {
  readonly signal?: AbortSignal;
  /**
   * Trust the listing: for a name under which nothing was stored lately. To name what was never there costs a request, and in a bucket with versions a
   * delete marker for each. Default: what a listing that lags does not show is removed too.
   */
  readonly onlyListed?: boolean;
}

/**
 * Removes everything that an interrupted backup of the name left behind. An object left in tar_partitions would be restored as if it belonged to the next
 * backup of the name.
 * @returns how many of the removed objects were listed
 * @throws WalkbackError BACKUP_FAILED when the name has a sentinel: then it is a backup, and nothing is removed
 */
export async function sweepOrphans(store: ObjectStore, name: string, options: SweepOptions = {}): Promise<number> {
  if ((await store.head(sentinelKey(name), signalOption(options.signal))) !== undefined) throw nameTaken(store, name);
  const listed: string[] = [];
  for await (const { key } of store.list(backupPrefix(name), signalOption(options.signal))) listed.push(key);
  if (listed.length === 0 && options.onlyListed === true) return 0;
  const keys = [...new Set([...listed, ...possibleOrphans(name, listed), manifestKey(name), sourceRecordKey(name)])];
  for (let first = 0; first < keys.length; first += deleteBatchKeys) {
    options.signal?.throwIfAborted();
    await store.delete(keys.slice(first, first + deleteBatchKeys));
  }
  return listed.length;
}

function deltaOf({ origin }: UploadedBaseBackup): DeltaOrigin | undefined {
  // Absent in what an agent of an earlier release uploaded.
  return origin ? { ...origin, startLsn: parseLsn(origin.startLsn) } : undefined;
}

function metadataOf(backup: BaseBackup): BackupMetadata {
  return {
    startTime: backup.startTime,
    finishTime: backup.finishTime,
    hostname: backup.hostname,
    dataDirectory: backup.dataDirectory,
    pgVersion: backup.pgVersion,
    startLsn: parseLsn(backup.startLsn),
    finishLsn: backup.finishLsn === undefined ? undefined : parseLsn(backup.finishLsn),
    isPermanent: backup.isPermanent,
    systemIdentifier: backup.systemIdentifier === undefined ? undefined : BigInt(backup.systemIdentifier),
    uncompressedBytes: backup.uncompressedBytes,
    compressedBytes: backup.compressedBytes,
  };
}

function nameTaken(store: ObjectStore, name: string): WalkbackError {
  return new WalkbackError('BACKUP_FAILED', `${store.url} holds a base backup named ${name} already.`, {
    facts: { backup: name },
    hint: 'A backup is named by the segment in which it starts: start the next one after a WAL switch.',
  });
}
