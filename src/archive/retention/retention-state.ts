/** What retention looks at before it decides: the archive by its listings, claims, and what earlier runs left. */
import type { BaseBackup } from '../../domain/base-backup.ts';
import { ancestorsOf } from '../../domain/retention-policy.ts';
import { type WalIntegrity, walIntegrity } from '../../domain/wal-integrity.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { type BackupFolder, listBackupFolders } from '../backup-folders.ts';
import { listBaseBackups } from '../catalog.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { listClaims, listRemovalMarks, type RestoreClaim } from '../restore-claims.ts';
import { checkBackupObjects } from '../verification/backup-objects.ts';
import type { OpenWal } from '../wal-archive.ts';
import { readWalHoldings } from '../wal-holdings.ts';

/** Where to look. */
export interface RetentionSource {
  readonly store: ObjectStore;
  readonly openWal: OpenWal;
  /** Undefined: the archive is not encrypted. */
  readonly cipher: ObjectCipher | undefined;
  /** Does the restore run still? Asked of claims only. */
  readonly isRestoreRunning: (claim: RestoreClaim) => Promise<boolean>;
  readonly signal: AbortSignal;
}

/** A folder in numbers. */
export interface FolderSize {
  readonly objects: number;
  readonly bytes: number;
  /** When the store took its newest object: an age, never an order. */
  readonly newestMs: number;
}

export interface RetentionState {
  readonly backups: readonly BaseBackup[];
  readonly damaged: readonly string[];
  readonly whole: ReadonlySet<string>;
  readonly onCurrentPath: ReadonlySet<string>;
  readonly folders: ReadonlyMap<string, FolderSize>;
  /** Of restores that run. */
  readonly claims: readonly RestoreClaim[];
  /** Of restores that have ended. */
  readonly staleClaims: readonly RestoreClaim[];
  readonly marked: ReadonlySet<string>;
  readonly segmentBytes: number;
}

/** Reads it. Marks and claims are read first of all: what is claimed later sees the marks. */
export async function readRetentionState(source: RetentionSource): Promise<RetentionState> {
  const { store, openWal, cipher, signal } = source;
  const marked = await listRemovalMarks(store, signal);
  const { running, ended } = await sortedClaims(source);
  const listing = await listBaseBackups(store, { signal, cipher });
  const wal = await readWalHoldings(openWal(), signal);
  const integrity = walIntegrity(listing.backups, wal);
  const folders = new Map<string, FolderSize>();
  const complete = new Set<string>();
  for await (const folder of listBackupFolders(store, signal)) {
    folders.set(folder.backup, sizeOf(folder));
    const { findings } = await checkBackupObjects(store, folder, signal);
    if (findings.every(({ severity }) => severity !== 'error')) complete.add(folder.backup);
  }
  return {
    backups: listing.backups,
    damaged: listing.damaged.map(({ name }) => name),
    whole: wholeBackups(listing.backups, integrity, complete),
    onCurrentPath: new Set(integrity.backups.filter(({ timeline }) => timeline === integrity.currentTimeline).map(({ backup }) => backup)),
    folders,
    claims: running,
    staleClaims: ended,
    marked,
    segmentBytes: wal.segmentBytes,
  };
}

async function sortedClaims({ store, isRestoreRunning, signal }: RetentionSource) {
  const running: RestoreClaim[] = [];
  const ended: RestoreClaim[] = [];
  for (const claim of await listClaims(store, signal)) ((await isRestoreRunning(claim)) ? running : ended).push(claim);
  return { running, ended };
}

function sizeOf({ objects }: BackupFolder): FolderSize {
  return {
    objects: objects.length,
    bytes: objects.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    newestMs: Math.max(...objects.map(({ lastModified }) => lastModified.getTime())),
  };
}

/** Its own objects and WAL, and the objects of all it is a delta of. */
function wholeBackups(backups: readonly BaseBackup[], integrity: WalIntegrity, complete: ReadonlySet<string>): ReadonlySet<string> {
  const byName = new Map(backups.map((backup) => [backup.name, backup]));
  const usable = new Set(integrity.backups.filter(({ isUsable }) => isUsable).map(({ backup }) => backup));
  const isWhole = (backup: BaseBackup) => {
    const chain = [backup, ...ancestorsOf(backup, byName)];
    return usable.has(backup.name) && chain.at(-1)?.deltaFrom === undefined && chain.every(({ name }) => complete.has(name));
  };
  return new Set(backups.filter(isWhole).map(({ name }) => name));
}
