/** Brings a base backup into a new data directory, full or delta: ours, and those that stock WAL-G and WAL-E wrote. */
import { mkdir } from 'node:fs/promises';
import type { ObjectStore } from '../storage/object-store.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { settingsOfCipher } from './encryption.ts';
import { readBackupChain } from './fetch/backup-chain.ts';
import { ExtractionThreads } from './fetch/extraction-threads.ts';
import { FetchRun } from './fetch/fetch-run.ts';
import { PartRecords } from './fetch/part-records.ts';
import type { FetchedBaseBackup, FetchProgress } from './fetch/progress.ts';

export interface FetchBaseBackupOptions {
  readonly store: ObjectStore;
  /** How the archive's objects are encrypted. Undefined: they are not. */
  readonly cipher?: ObjectCipher | undefined;
  /** Name of the backup. */
  readonly backup: string;
  /** The new data directory; made when it is absent. That nothing else is in it is the caller's care. */
  readonly into: string;
  /** Where this fetch keeps what it has done; on the same disk as `into`, or in it under `walkback_restore`. */
  readonly stateDirectory: string;
  /** Tars at a time. Default 4. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FetchProgress) => void;
}

const defaultConcurrency = 4;

/**
 * Fetches, verifies and extracts every tar of the backup and of those that it builds on, the full one first; pg_control comes last. Everything is
 * durable when this resolves. Called again with the same state directory after an interruption, it fetches only the tars that are not in place.
 * Tablespaces go to `<into>/walkback_tablespaces/<oid>`, and tablespace_map says so.
 * @throws WalkbackError NOT_FOUND without a sentinel, ARCHIVE_FORMAT_UNSUPPORTED for unreadable compressions and deltas without a file list,
 * OBJECT_DAMAGED and DECRYPTION_FAILED naming the key, NOT_ENOUGH_DISK, DATA_DIRECTORY_NOT_EMPTY when the state directory is that of another backup;
 * system errors of local files as they are; the signal's reason after an abort
 */
export async function fetchBaseBackup(options: FetchBaseBackupOptions): Promise<FetchedBaseBackup> {
  const { store, cipher, backup, into, stateDirectory, concurrency = defaultConcurrency, onProgress } = options;
  const signal = options.signal ?? new AbortController().signal;
  // Started first: they load while the archive is asked.
  await using threads = new ExtractionThreads({ cipher: cipher === undefined ? undefined : settingsOfCipher(cipher) });
  const chain = await readBackupChain(store, backup, signal);
  await mkdir(into, { recursive: true, mode: 0o700 });
  await mkdir(stateDirectory, { recursive: true, mode: 0o700 });
  const records = await PartRecords.open(stateDirectory, backup);
  return await new FetchRun({ store, chain, records, threads, into, stateDirectory, concurrency, signal, onProgress }).run();
}
