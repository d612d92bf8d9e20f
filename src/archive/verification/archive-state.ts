/** What a verification works on: the archive by its listings. */
import type { Finding } from '../../domain/archive-findings.ts';
import type { BaseBackup } from '../../domain/base-backup.ts';
import { walIntegrity, type WalIntegrity } from '../../domain/wal-integrity.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { type BaseBackupListing, listBaseBackups } from '../catalog.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import type { OpenWal } from '../wal-archive.ts';
import { readSettledHoldings } from '../wal-holdings.ts';

/** What is verified, and how. */
export interface VerifyArchiveOptions {
  readonly store: ObjectStore;
  readonly openWal: OpenWal;
  /** Undefined: the archive is not encrypted. */
  readonly cipher: ObjectCipher | undefined;
  readonly cluster: string;
  /** Read and hash every object that a restore may need. */
  readonly deep: boolean;
  /** Names the report; an attempt with the id of an interrupted one goes on where that one was. */
  readonly id: string;
  /** RFC 3339. */
  readonly startedAt: string;
  /** How long a hole may take to close by itself: agents archive several segments at a time. Default 10 000. */
  readonly holeSettlesWithinMs?: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: VerifyProgress) => void;
}

/** How far it is. */
export interface VerifyProgress {
  readonly bytesDone: number;
  readonly bytesTotal?: number;
  readonly note: string;
}

const defaultHoleSettlesWithinMs = 10_000;

/** What an archive consists of, by its listings. */
export interface ArchiveState {
  readonly listing: BaseBackupListing;
  readonly backupsByName: ReadonlyMap<string, BaseBackup>;
  readonly integrity: WalIntegrity;
  readonly segmentBytes: number;
  /** History files that cannot be read; a deep verification finds them by itself. */
  readonly damagedHistories: readonly Finding[];
}

/** Reads it. A hole counts once it has lasted for a while. */
export async function readState(options: VerifyArchiveOptions): Promise<ArchiveState> {
  const { store, openWal, cipher, signal, holeSettlesWithinMs = defaultHoleSettlesWithinMs } = options;
  const listing = await listBaseBackups(store, { signal, cipher });
  const { holdings, damagedHistories } = await readSettledHoldings(openWal(), {
    settlesWithinMs: holeSettlesWithinMs,
    isSettled: (candidate) => walIntegrity(listing.backups, candidate).timelines.every(({ holes }) => holes.length === 0),
    signal,
  });
  return {
    listing,
    backupsByName: new Map(listing.backups.map((backup) => [backup.name, backup])),
    integrity: walIntegrity(listing.backups, holdings),
    segmentBytes: holdings.segmentBytes,
    damagedHistories,
  };
}
