/**
 * Where things lie in an archive: WAL-G's layout (wal-g: utility/utility.go, internal/storage_tar_ball.go,
 * internal/databases/postgres/backup.go), and beside it `walkback_001/`, which is ours. The only file that knows a path.
 */
import type { TimelineId, WalSegmentName } from '../domain/wal-segment.ts';

/** Folder of the base backups. */
export const baseBackupsPrefix = 'basebackups_005/';
/** Folder of WAL segments, history files and whatever else archive_command is given. */
export const walPrefix = 'wal_005/';

const manifestsPrefix = 'walkback_001/backups/';
const sentinelSuffix = '_backup_stop_sentinel.json';
const backupNamePattern = /^base_([0-9A-F]{8})[0-9A-F]{16}(_D_[0-9A-F]{24})?(_[0-9A-F]{8})?$/;
const walEBackupNamePattern = /^base_[0-9A-F]{24}_(\d{8})$/;
const fullBackupNamePattern = /^base_[0-9A-F]{24}$/;
const incrementalBackupNamePattern = /^base_[0-9A-F]{24}_D_[0-9A-F]{24}$/;

/** File names of the tars that are extracted after all parts, without extension. */
export const pgControlTarName = 'pg_control.tar';
export const backupLabelTarName = 'backup_label.tar';

/** Members of backup_label.tar, which have no leading slash (wal-g: bundle.go, uploadLabelFiles). */
export const labelMembers = { backupLabel: 'backup_label', tablespaceMap: 'tablespace_map' } as const;
/** PostgreSQL's own list of the files with their checksums, a member of backup_label.tar too; listed under this very name, or WAL-G would not extract it. */
export const backupManifestMember = 'backup_manifest';
/** The only member of pg_control.tar. */
export const pgControlMember = '/global/pg_control';

/** The extensions that WAL-G and WAL-E put behind a name; an empty one is uncompressed. */
export const storedExtensions: ReadonlySet<string> = new Set(['', 'zst', 'lz4', 'br', 'lzma', 'gz', 'lzo']);

/** What a tar of a backup holds, which decides when it is extracted. */
export type TarKind = 'part' | 'backup-label' | 'pg-control';

/** Is it the name of a full backup as we and WAL-G write it? */
export function isFullBackupName(name: string): boolean {
  return fullBackupNamePattern.test(name);
}

/** Is it the name of an incremental backup: a delta, in WAL-G's word? */
export function isIncrementalBackupName(name: string): boolean {
  return incrementalBackupNamePattern.test(name);
}

/** Name of an incremental backup: that of a full one, and the segment of the parent's name (wal-g: backup_push_handler.go, handleDeltaBackup). */
export function incrementalBackupName(fullName: string, parent: string): string {
  return `${fullName}_D_${startSegmentOfBackupName(parent)}`;
}

/** The timeline that a backup's name begins with; undefined when it is no backup's name. */
export function timelineOfBackupName(name: string): TimelineId | undefined {
  const digits = backupNamePattern.exec(name)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

/** Segment that a backup's name begins with. */
export function startSegmentOfBackupName(name: string): WalSegmentName {
  return name.slice('base_'.length, 'base_'.length + 24) as WalSegmentName;
}

/** Offset in that segment where a backup of WAL-E starts, which its name ends with in decimal; undefined for other backups (wal-e: operator/backup.py). */
export function walEOffsetOfBackupName(name: string): number | undefined {
  const digits = walEBackupNamePattern.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** The object whose existence makes a backup exist. */
export function sentinelKey(backup: string): string {
  return `${baseBackupsPrefix}${backup}${sentinelSuffix}`;
}

/** Name of the backup whose sentinel the key is; undefined for any other key. */
export function backupOfSentinelKey(key: string): string | undefined {
  if (!key.startsWith(baseBackupsPrefix) || !key.endsWith(sentinelSuffix)) return undefined;
  return key.slice(baseBackupsPrefix.length, -sentinelSuffix.length);
}

/** Everything of a backup but its sentinel and its manifest lies under this prefix. */
export function backupPrefix(backup: string): string {
  return `${baseBackupsPrefix}${backup}/`;
}

/** Name of the backup in whose folder the key lies; undefined for sentinels, folder markers and other keys. */
export function backupOfFolderKey(key: string): string | undefined {
  if (!key.startsWith(baseBackupsPrefix) || key.endsWith('/')) return undefined;
  const end = key.indexOf('/', baseBackupsPrefix.length);
  const name = end === -1 ? undefined : key.slice(baseBackupsPrefix.length, end);
  return name !== undefined && backupNamePattern.test(name) ? name : undefined;
}

/** Name of the backup that the object is a part of, wherever it lies; undefined for any other key. */
export function backupOfKey(key: string): string | undefined {
  const ofManifest =
    key.startsWith(manifestsPrefix) && key.endsWith('.json') ? key.slice(manifestsPrefix.length, -'.json'.length) : undefined;
  return backupOfFolderKey(key) ?? backupOfSentinelKey(key) ?? ofManifest;
}

export function metadataKey(backup: string): string {
  return `${backupPrefix(backup)}metadata.json`;
}

export function filesMetadataKey(backup: string): string {
  return `${backupPrefix(backup)}files_metadata.json`;
}

/** WAL-E's: what `SELECT version()` gave. */
export function extendedVersionKey(backup: string): string {
  return `${backupPrefix(backup)}extended_version.txt`;
}

/** Folder of a backup's tars; every object directly in it is one. */
export function tarPartitionsPrefix(backup: string): string {
  return `${backupPrefix(backup)}tar_partitions/`;
}

/** Ours: size and SHA-256 of each stored object of a backup. */
export function manifestKey(backup: string): string {
  return `${manifestsPrefix}${backup}.json`;
}

/** Ours: what the source of a backup was like. */
export function sourceRecordKey(backup: string): string {
  return `walkback_001/sources/${backup}.json`;
}

/** `part_001.tar.zst`; numbers begin at 1 and may have more than three digits. */
export function partFileName(number: number, extension: string): string {
  return withExtension(`part_${String(number).padStart(3, '0')}.tar`, extension);
}

/** Appends a compression's extension; without one the name stays bare. */
export function withExtension(name: string, extension: string): string {
  return extension === '' ? name : `${name}.${extension}`;
}

/** What the tar of that file name holds, whatever its extension. */
export function tarKind(fileName: string): TarKind {
  if (/^.*?pg_control\.tar(\..*)?$/.test(fileName)) return 'pg-control';
  return /^backup_label\.tar(\..*)?$/.test(fileName) ? 'backup-label' : 'part';
}

/** Compression extension of a tar's file name: behind the last dot; `tar` and the dangling dot of WAL-G 3.0.8 mean none. */
export function extensionOfTar(fileName: string): string {
  const extension = fileName.slice(fileName.lastIndexOf('.') + 1);
  return extension === 'tar' ? '' : extension;
}

/** Name of whatever lies in the WAL's folder, with its extension: deltas and sidecars of WAL-G too. */
export function walFileOfKey(key: string): string {
  return key.slice(walPrefix.length);
}

/** Key of a WAL file's object. */
export function walKey(name: string, extension: string): string {
  return withExtension(`${walPrefix}${name}`, extension);
}

const storedWalPattern = /^([0-9A-F]{8}\.history|[0-9A-F]{24}(?:\.partial|\.[0-9A-F]{8}\.backup)?)(?:\.([a-z0-9]*))?$/;

/**
 * Takes the key of a WAL object apart. Undefined for what is none: deltas, `.json` sidecars, unknown extensions.
 * A dangling dot, as WAL-G 3.0.8 wrote it, means uncompressed.
 */
export function parseWalKey(key: string): { readonly name: string; readonly extension: string } | undefined {
  const match = storedWalPattern.exec(key.slice(walPrefix.length));
  const [name, extension] = [match?.[1], match?.[2] ?? ''];
  if (name === undefined || !key.startsWith(walPrefix) || !storedExtensions.has(extension)) return undefined;
  return { name, extension };
}

/** Folder in PGDATA where a restore keeps its own state; never part of a backup. */
export const restoreStateDirectoryName = 'walkback_restore';
/** Folder in a restored PGDATA that holds its tablespaces; reached through pg_tblspc, so never walked as itself. */
export const restoredTablespacesDirectoryName = 'walkback_tablespaces';

/** Ours: where a restore point lies. Its name may hold anything but control characters. */
export function restorePointKey(name: string): string {
  return `walkback_001/restore-points/${encodeURIComponent(name)}.json`;
}

/** Our landing reports, in the restored cluster's own archive. */
export const landingReportsPrefix = 'walkback_001/restores/';

/** @param restoreId a workflow id, which holds slashes */
export function landingReportKey(restoreId: string): string {
  return `${landingReportsPrefix}${encodeURIComponent(restoreId)}.json`;
}

/** Ours: what was restored from the cluster, in the archive of the parent. */
export const childrenPrefix = 'walkback_001/children/';

export function childKey(name: string): string {
  return `${childrenPrefix}${name}.json`;
}

/** Our reports of retention, the newest last by name. */
export const pruneReportsPrefix = 'walkback_001/prunes/';

/** @param id the instant from which days are counted */
export function pruneReportKey(id: string): string {
  return `${pruneReportsPrefix}${id}.json`;
}

/** Base backups that restores in flight have claimed. */
export const claimsPrefix = 'walkback_001/claims/';

/** @param restoreId a workflow id, which holds slashes */
export function claimKey(restoreId: string): string {
  return `${claimsPrefix}${encodeURIComponent(restoreId)}.json`;
}

/** Base backups that retention is removing. */
export const removalMarksPrefix = 'walkback_001/removals/';

export function removalMarkKey(backup: string): string {
  return `${removalMarksPrefix}${backup}.json`;
}

/** Name of the backup that the key marks; undefined for any other key. */
export function backupOfRemovalMarkKey(key: string): string | undefined {
  return key.startsWith(removalMarksPrefix) && key.endsWith('.json') ? key.slice(removalMarksPrefix.length, -'.json'.length) : undefined;
}

/** Ours: remembered row counts, the newest last by name. */
export const rowBaselinesPrefix = 'walkback_001/baselines/';

/** @param takenAt RFC 3339 in UTC, always with the same number of digits */
export function rowBaselineKey(takenAt: string): string {
  return `${rowBaselinesPrefix}${takenAt}.json`;
}

/** Our reports of verifications, the newest last by name. */
export const verificationsPrefix = 'walkback_001/verifications/';

/** @param id the instant at which it began */
export function verificationKey(id: string): string {
  return `${verificationsPrefix}${id}.json`;
}

/** Ours: WAL files that were refused because their name held other content. */
export const conflictsPrefix = 'walkback_001/conflicts/';

/** Ours: the unfinished last segment of a source that went on in it, as it was stored; named by the SHA-256 of its content. */
export function supersededKey(name: string, sha256: string, extension: string): string {
  return withExtension(`walkback_001/superseded/${name}.${sha256}`, extension);
}

/** The refused file, compressed and encrypted as it would have been stored; named by the SHA-256 of its content. */
export function conflictKey(name: string, sha256: string, extension: string): string {
  return withExtension(`${conflictsPrefix}${name}.${sha256}`, extension);
}

/** What is known of it. */
export function conflictDocumentKey(name: string, sha256: string): string {
  return `${conflictsPrefix}${name}.${sha256}.json`;
}
