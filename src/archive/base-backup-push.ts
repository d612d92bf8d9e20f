/** Writes a full base backup as WAL-G lays it out, between pg_backup_start and pg_backup_stop of a session that the caller holds. */
import { type BaseBackup, majorOf } from '../domain/base-backup.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { parseLsn } from '../domain/lsn.ts';
import { segmentNumberAt, type TimelineId, walSegmentName } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { codecs, type Compression } from './compression.ts';
import type { Codec } from './compression/codec.ts';
import { none } from './compression/none.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { assertWritable } from './encryption.ts';
import { filesMetadataDocument } from './documents/files-metadata.ts';
import { type StoredObject, stringifyManifest } from './documents/manifest.ts';
import { putDocument } from './documents/stored-document.ts';
import type { TablespaceSpec } from './documents/tablespace-spec.ts';
import {
  backupLabelTarName,
  filesMetadataKey,
  isFullBackupName,
  labelMembers,
  manifestKey,
  pgControlMember,
  pgControlTarName,
  tarPartitionsPrefix,
  withExtension,
} from './layout.ts';
import { sweepOrphans } from './base-backup-completion.ts';
import { readControlFile } from './push/control-file.ts';
import { findTablespaces } from './push/data-directory-walk.ts';
import { uploadObject } from './push/object-upload.ts';
import { type PushProgress, type UploadedParts, uploadParts } from './push/part-upload.ts';
import { tarOfContents } from './push/tar-of-contents.ts';

/** What pg_backup_start said, and what is known of the server. */
export interface BackupStart {
  /** `base_` and the name of the segment that holds the start position. */
  readonly name: string;
  readonly timeline: TimelineId;
  /** `0/5000028`. */
  readonly startLsn: string;
  /** RFC 3339, by the server's clock. */
  readonly startTime: string;
  /** server_version_num. */
  readonly pgVersion: number;
  /** Decimal. */
  readonly systemIdentifier: string;
  readonly hostname: string;
  readonly walSegmentBytes: number;
}

/** What pg_backup_stop said. */
export interface BackupStop {
  readonly finishLsn: string;
  /** RFC 3339, by the server's clock. */
  readonly finishTime: string;
  readonly labelFile: string;
  /** Empty without tablespaces. */
  readonly tablespaceMap: string;
}

export interface UploadBaseBackupOptions {
  readonly store: ObjectStore;
  readonly dataDirectory: string;
  readonly compression: Compression;
  /** Default: not encrypted. */
  readonly cipher?: ObjectCipher | undefined;
  readonly start: BackupStart;
  /** Ends the backup; called once, when all data is stored. */
  readonly stop: () => Promise<BackupStop>;
  /** Uncompressed content of a part; a larger file gets a part of its own. Default 128 MiB. */
  readonly partBytes?: number;
  /** Parts at a time; each takes about 6 MiB beside what the store's upload buffers. Default 2. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PushProgress) => void;
}

/** A backup whose data is stored and that does not exist yet: completeBaseBackup makes it one. JSON-safe and small. */
export interface UploadedBaseBackup {
  readonly backup: BaseBackup;
  readonly tablespaces: TablespaceSpec | null;
  readonly filesMetadataDisabled: boolean;
}

const defaultPartBytes = 128 * 1024 * 1024;
const defaultConcurrency = 2;

/**
 * Uploads everything of a base backup but metadata.json and the sentinel. Leftovers of an interrupted backup of the same name are removed first.
 * @throws WalkbackError ENCRYPTION_READ_ONLY, BACKUP_FAILED when a file cannot be read or the name is taken, and what the store throws; the signal's reason after an abort.
 * Objects that were stored already stay behind without a sentinel (sweepOrphans).
 */
export async function uploadBaseBackup(options: UploadBaseBackupOptions): Promise<UploadedBaseBackup> {
  try {
    return await upload(options);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof WalkbackError) throw error;
    throw new WalkbackError('BACKUP_FAILED', `The base backup ${options.start.name} failed: ${messageOf(error)}`, { cause: error });
  }
}

async function upload(options: UploadBaseBackupOptions): Promise<UploadedBaseBackup> {
  const { store, dataDirectory, start } = options;
  const signal = options.signal ?? new AbortController().signal;
  const target: Target = { store, backup: start.name, codec: codecs[options.compression], cipher: options.cipher, signal };
  assertWritable(target.cipher);
  assertName(start);
  await sweepOrphans(store, start.name, { signal });
  const tablespaces = await findTablespaces(dataDirectory);
  const parts = await uploadParts(store, {
    ...options,
    backup: start.name,
    pgMajor: majorOf(start.pgVersion),
    codec: target.codec,
    cipher: target.cipher,
    partBytes: options.partBytes ?? defaultPartBytes,
    concurrency: options.concurrency ?? defaultConcurrency,
  });
  // After the data, so that a restore's pg_control is never older than a page it goes with.
  const control = await readControlFile(dataDirectory, signal);
  const controlTar = await uploadTar(target, pgControlTarName, { [pgControlMember]: control });
  const stop = await options.stop();
  const labels = { [labelMembers.backupLabel]: Buffer.from(stop.labelFile), [labelMembers.tablespaceMap]: Buffer.from(stop.tablespaceMap) };
  const labelTar = await uploadTar(target, backupLabelTarName, labels);
  const tars = [...parts.objects, controlTar, labelTar];
  const documents = await uploadFileList(target, parts);
  await putDocument(store, manifestKey(start.name), { text: stringifyManifest(start.name, [...tars, ...documents]), signal });
  const labelBytes = control.length + stop.labelFile.length + stop.tablespaceMap.length;
  return {
    backup: describeBackup(options, stop, { uncompressedBytes: parts.contentBytes + labelBytes, objects: tars }),
    tablespaces: tablespaces.length === 0 ? null : { basePrefix: dataDirectory, tablespaces },
    filesMetadataDisabled: parts.fileList === undefined,
  };
}

/** Where the objects of one backup go. */
interface Target {
  readonly store: ObjectStore;
  readonly backup: string;
  readonly codec: Codec;
  readonly cipher: ObjectCipher | undefined;
  readonly signal: AbortSignal;
}

async function uploadTar(target: Target, tarName: string, contents: Readonly<Record<string, Buffer>>): Promise<StoredObject> {
  const key = `${tarPartitionsPrefix(target.backup)}${withExtension(tarName, target.codec.extension)}`;
  return uploadObject(target.store, key, { ...target, chunks: [tarOfContents(contents)] });
}

/** JSON documents are never compressed or encrypted. */
async function uploadFileList(target: Target, parts: UploadedParts): Promise<readonly StoredObject[]> {
  if (parts.fileList === undefined) return [];
  // pg_control is in no list of WAL-G's either: it is always extracted (bundle.go, UploadPgControl).
  const labelTar = withExtension(backupLabelTarName, target.codec.extension);
  const chunks = filesMetadataDocument(parts.fileList, { [labelTar]: Object.values(labelMembers) });
  return [await uploadObject(target.store, filesMetadataKey(target.backup), { ...target, codec: none, cipher: undefined, chunks })];
}

function assertName(start: BackupStart): void {
  if (isFullBackupName(start.name)) return;
  throw new WalkbackError('INVALID_REQUEST', `"${start.name}" is not the name of a full base backup: base_ and 24 hexadecimal digits.`);
}

function describeBackup(
  { start, dataDirectory }: UploadBaseBackupOptions,
  stop: BackupStop,
  sizes: { readonly uncompressedBytes: number; readonly objects: readonly StoredObject[] },
): BaseBackup {
  return {
    name: start.name,
    timeline: start.timeline,
    startLsn: start.startLsn,
    finishLsn: stop.finishLsn,
    startTime: start.startTime,
    finishTime: stop.finishTime,
    pgVersion: start.pgVersion,
    systemIdentifier: start.systemIdentifier,
    hostname: start.hostname,
    dataDirectory,
    uncompressedBytes: sizes.uncompressedBytes,
    compressedBytes: sizes.objects.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    isPermanent: false,
    deltaFrom: undefined,
    startSegment: walSegmentName(
      { timeline: start.timeline, number: segmentNumberAt(parseLsn(start.startLsn), start.walSegmentBytes) },
      start.walSegmentBytes,
    ),
  };
}
