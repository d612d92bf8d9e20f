/** Brings a full base backup into a new data directory: ours, and those that stock WAL-G and WAL-E wrote. */
import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../domain/errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { readDocument } from './documents/stored-document.ts';
import { syncDirectory, writeFileDurably } from '../files/durable-file.ts';
import { controlAside, controlName, placeControl } from './fetch/control-aside.ts';
import { tablespaceMap, tablespaceDirectory } from './fetch/member-path.ts';
import { PartRecords } from './fetch/part-records.ts';
import { describeAnew } from './fetch/restored-manifest.ts';
import { listStoredTars, type StoredTars } from './fetch/stored-tars.ts';
import { extractTar, type ExtractionOptions, type StoredTar } from './fetch/tar-extraction.ts';
import { backupManifestMember, labelMembers, sentinelKey } from './layout.ts';
import { forEachParallel } from './parallel.ts';
import { parseSentinel, type Sentinel } from './sentinel.ts';

/** How far a fetch is, in bytes and tars as they are stored. */
export interface FetchProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly partsDone: number;
  readonly partsTotal: number;
}

export interface FetchBaseBackupOptions {
  readonly store: ObjectStore;
  /** Default: not encrypted. */
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

export interface FetchedBaseBackup {
  /** Stored bytes that this call fetched. */
  readonly bytes: number;
  /** Tars of the backup. */
  readonly parts: number;
  /** Those that an earlier call had brought. */
  readonly partsAlreadyFetched: number;
}

const defaultConcurrency = 4;
/** A tar that fails is tried so often in all: another read may get good bytes, and the store may be back. */
const maximumAttempts = 3;
const retryDelayMs = 200;
/** A server needs these, and WAL-G leaves out those that were links (PostgreSQL manual, "Backing Up the Data Directory"). */
const neededDirectories = [
  'pg_wal',
  'pg_notify',
  'pg_replslot',
  'pg_tblspc',
  'pg_twophase',
  'pg_commit_ts',
  'pg_dynshmem',
  'pg_serial',
  'pg_snapshots',
  'pg_subtrans',
  'pg_stat',
  'pg_stat_tmp',
] as const;

/**
 * Fetches, verifies and extracts every tar; pg_control comes last. Everything is durable when this resolves. Called again with the same state
 * directory after an interruption, it fetches only the tars that are not in place.
 * Tablespaces go to `<into>/walkback_tablespaces/<oid>`, and tablespace_map says so.
 * @throws WalkbackError NOT_FOUND without a sentinel, ARCHIVE_FORMAT_UNSUPPORTED for delta backups and unreadable compressions,
 * OBJECT_DAMAGED and DECRYPTION_FAILED naming the key, NOT_ENOUGH_DISK; system errors of local files as they are; the signal's reason after an abort
 */
export async function fetchBaseBackup(options: FetchBaseBackupOptions): Promise<FetchedBaseBackup> {
  const signal = options.signal ?? new AbortController().signal;
  const sentinel = await readSentinel(options.store, options.backup, signal);
  const tars = await listStoredTars(options.store, options.backup, signal);
  await mkdir(options.into, { recursive: true, mode: 0o700 });
  await mkdir(options.stateDirectory, { recursive: true, mode: 0o700 });
  const records = await PartRecords.open(options.stateDirectory, options.backup);
  const fetch = new Fetch({ ...options, signal }, { sentinel, tars, records });
  await fetch.run();
  return fetch.result();
}

async function readSentinel(store: ObjectStore, backup: string, signal: AbortSignal): Promise<Sentinel> {
  const sentinel = await readDocument(store, sentinelKey(backup), { parse: parseSentinel, signal });
  if (sentinel === undefined)
    throw new WalkbackError('NOT_FOUND', `${store.url} holds no base backup named ${backup}.`, { facts: { backup } });
  if (sentinel.delta === undefined) return sentinel;
  throw new WalkbackError(
    'ARCHIVE_FORMAT_UNSUPPORTED',
    `${backup} is a delta backup on top of ${sentinel.delta.from}: only full backups can be fetched.`,
    {
      facts: { backup, deltaFrom: sentinel.delta.from },
    },
  );
}

/** What is special about a tar. */
type PartOptions = Pick<ExtractionOptions, 'signal' | 'leaveOut' | 'aside'>;

/** What a fetch works on. */
interface FetchSource {
  readonly sentinel: Sentinel;
  readonly tars: StoredTars;
  readonly records: PartRecords;
}

/** One call of fetchBaseBackup. */
class Fetch {
  readonly #options: FetchBaseBackupOptions & { readonly signal: AbortSignal };
  readonly #source: FetchSource;
  readonly #all: readonly StoredTar[];
  readonly #bytesTotal: number;
  #bytesDone = 0;
  #bytesFetched = 0;
  #partsDone = 0;
  #partsAlreadyFetched = 0;

  constructor(options: FetchBaseBackupOptions & { readonly signal: AbortSignal }, source: FetchSource) {
    this.#options = options;
    this.#source = source;
    this.#all = [...source.tars.parts, ...source.tars.last];
    this.#bytesTotal = this.#all.reduce((total, { info }) => total + info.sizeBytes, 0);
  }

  async run(): Promise<void> {
    const { signal, concurrency = defaultConcurrency } = this.#options;
    const { tars } = this.#source;
    const labels = tars.hasLabelTar ? Object.values(labelMembers) : [];
    // Labels and pg_control that lie in a part too (WAL-G's remote backups) must not be there before everything else is.
    const broughtLater = new Set(tars.hasControlTar ? [controlName, ...labels] : labels);
    const aside = new Map(tars.hasControlTar ? [] : [[controlName, controlAside(this.#options.stateDirectory)]]);
    await forEachParallel(tars.parts, { concurrency, signal }, (tar, partSignal) =>
      this.#bring(tar, { signal: partSignal, leaveOut: broughtLater, aside }),
    );
    await this.#finishDirectories();
    for (const tar of tars.last) await this.#bring(tar, { signal, leaveOut: new Set() });
    if (!tars.hasControlTar) {
      await this.#rewriteTablespaceMap();
      await placeControl(this.#options);
    }
    await syncDirectory(this.#options.into);
    await syncDirectory(dirname(this.#options.into));
  }

  result(): FetchedBaseBackup {
    return { bytes: this.#bytesFetched, parts: this.#all.length, partsAlreadyFetched: this.#partsAlreadyFetched };
  }

  /** Brings one tar, unless it is in place. */
  async #bring(tar: StoredTar, options: PartOptions): Promise<void> {
    if (await this.#source.records.has(tar)) {
      this.#partsAlreadyFetched += 1;
      this.#count(tar.info.sizeBytes);
    } else {
      await this.#extractWithRetries(tar, options);
      await this.#source.records.add(tar);
    }
    this.#partsDone += 1;
    this.#count(0);
  }

  async #extractWithRetries(tar: StoredTar, options: PartOptions): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#extract(tar, options);
        return;
      } catch (error) {
        options.signal.throwIfAborted();
        if (attempt >= maximumAttempts || !mayPass(error)) throw error;
        await delay(retryDelayMs * attempt, undefined, { signal: options.signal });
      }
    }
  }

  /** What a failed attempt had counted is taken back. */
  async #extract(tar: StoredTar, options: PartOptions): Promise<void> {
    let attemptBytes = 0;
    const onBytes = (sizeBytes: number): void => {
      attemptBytes += sizeBytes;
      this.#bytesFetched += sizeBytes;
      this.#count(sizeBytes);
    };
    const { store, cipher, into } = this.#options;
    const { tablespaces } = this.#source.sentinel;
    try {
      await extractTar(tar, { ...options, store, cipher, into, tablespaces, onBytes });
      if (!this.#source.tars.parts.includes(tar)) await this.#rewriteTablespaceMap();
    } catch (error) {
      this.#count(-attemptBytes);
      throw error;
    }
  }

  /** The map that came along names the source's places. */
  async #rewriteTablespaceMap(): Promise<void> {
    const { into } = this.#options;
    const { tablespaces } = this.#source.sentinel;
    if (tablespaces === undefined) return;
    const content = Buffer.from(tablespaceMap(into, tablespaces));
    await writeFileDurably(join(into, labelMembers.tablespaceMap), content);
    await describeAnew(join(into, backupManifestMember), { path: labelMembers.tablespaceMap, content });
  }

  async #finishDirectories(): Promise<void> {
    const { into } = this.#options;
    const places = (this.#source.sentinel.tablespaces?.tablespaces ?? []).map(({ oid }) => tablespaceDirectory(into, oid));
    for (const path of [...neededDirectories.map((name) => join(into, name)), ...places])
      await mkdir(path, { recursive: true, mode: 0o700 });
    // PostgreSQL refuses a data directory that others may enter, and one whose owner may not.
    const { mode } = await stat(into);
    await chmod(into, (mode & 0o750) | 0o700);
  }

  #count(sizeBytes: number): void {
    this.#bytesDone += sizeBytes;
    this.#options.onProgress?.({
      bytesDone: this.#bytesDone,
      bytesTotal: this.#bytesTotal,
      partsDone: this.#partsDone,
      partsTotal: this.#all.length,
    });
  }
}

function mayPass(error: unknown): boolean {
  return error instanceof WalkbackError && (error.retryable || error.code === 'OBJECT_DAMAGED');
}
