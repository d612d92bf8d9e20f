/** One fetch of a chain: level after level, and within a level several tars at a time. */
import { chmod, lstat, mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../../domain/errors.ts';
import { syncDirectory } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import { type ByteReader, readerOf } from '../../storage/byte-reader.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { damaged } from '../documents/stored-document.ts';
import { extensionOfTar } from '../layout.ts';
import { forEachParallel } from '../parallel.ts';
import type { BackupChain, BackupLevel } from './backup-chain.ts';
import type { ExtractionJob } from './extraction-job.ts';
import type { ExtractionThreads } from './extraction-threads.ts';
import { LastMembers } from './last-members.ts';
import { memberPath, tablespaceDirectory } from './member-path.ts';
import type { PartRecords } from './part-records.ts';
import type { FetchedBaseBackup, FetchProgress } from './progress.ts';
import type { StoredTar } from './stored-tars.ts';

/** What a fetch works with. */
export interface FetchRunOptions {
  readonly store: ObjectStore;
  readonly chain: BackupChain;
  readonly records: PartRecords;
  readonly threads: ExtractionThreads;
  readonly into: string;
  readonly stateDirectory: string;
  readonly concurrency: number;
  readonly signal: AbortSignal;
  readonly onProgress: ((progress: FetchProgress) => void) | undefined;
}

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

export class FetchRun {
  readonly #options: FetchRunOptions;
  readonly #last: LastMembers;
  readonly #bytesTotal: number;
  readonly #partsTotal: number;
  #bytesDone = 0;
  #bytesFetched = 0;
  #partsDone = 0;
  #partsAlreadyFetched = 0;

  constructor(options: FetchRunOptions) {
    this.#options = options;
    this.#last = new LastMembers({ ...options, newest: options.chain.newest });
    const all = options.chain.levels.flatMap(({ tars }) => [...tars.parts, tars.labels, tars.pgControl]).filter((tar) => tar !== undefined);
    this.#partsTotal = all.length;
    this.#bytesTotal = all.reduce((total, { info }) => total + info.sizeBytes, 0);
  }

  async run(): Promise<FetchedBaseBackup> {
    const { chain, into } = this.#options;
    // Strictly one after the other: an increment changes the file that the levels before brought.
    for (const level of chain.levels) await this.#bringLevel(level);
    await this.#finishDirectories();
    const { labels, pgControl } = chain.newest.tars;
    if (labels !== undefined) await this.#bring(chain.newest, labels, this.#options.signal);
    await this.#last.placeLabels();
    if (pgControl !== undefined) await this.#bring(chain.newest, pgControl, this.#options.signal);
    await this.#last.placePgControl();
    await syncDirectory(into);
    await syncDirectory(dirname(into));
    return { bytes: this.#bytesFetched, parts: this.#partsTotal, partsAlreadyFetched: this.#partsAlreadyFetched };
  }

  async #bringLevel(level: BackupLevel): Promise<void> {
    const { concurrency, signal } = this.#options;
    let earlierCount = 0;
    await forEachParallel(level.tars.parts, { concurrency, signal }, async (tar, partSignal) => {
      const partCount = await this.#bring(level, tar, partSignal);
      earlierCount += partCount;
    });
    await this.#assertComplete(level, earlierCount);
  }

  /** A part that WAL-G wrote and that is gone leaves no trace but files that nobody brought. */
  async #assertComplete({ list, tars }: BackupLevel, earlierCount: number): Promise<void> {
    if (list === undefined) return;
    let expectedCount = 0;
    const missing: number[] = [];
    for (const number of list.files.expected()) {
      expectedCount += 1;
      if (!list.files.hasArrived(number)) missing.push(number);
    }
    if (missing.length <= earlierCount) return;
    const { chain, into } = this.#options;
    let first: string | undefined;
    for (const number of missing) {
      const name = chain.names.nameOf(number);
      first ??= name;
      // Of what an earlier call brought only the number is known.
      if (await isThere(memberPath(name, into, chain.newest.sentinel.tablespaces))) continue;
      first = name;
      break;
    }
    throw damaged(
      list.key,
      `it names ${expectedCount} files, of which ${missing.length - earlierCount} are in none of the ${tars.parts.length} parts, ${first} for one: a part is missing`,
    );
  }

  /** Brings one tar, unless it is in place. @returns how many files of the backup's list an earlier call has brought from it */
  async #bring(level: BackupLevel, tar: StoredTar, signal: AbortSignal): Promise<number> {
    const { records } = this.#options;
    const record = await records.find(level.backup, tar);
    if (record === undefined) {
      const arrivedCount = await this.#extractWithRetries(level, tar, signal);
      await records.add(level.backup, tar, { arrivedCount });
    } else {
      this.#partsAlreadyFetched += 1;
      this.#count(tar.info.sizeBytes);
    }
    this.#partsDone += 1;
    this.#count(0);
    return record?.arrivedCount ?? 0;
  }

  async #extractWithRetries(level: BackupLevel, tar: StoredTar, signal: AbortSignal): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#extract(level, tar, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (attempt >= maximumAttempts || !mayPass(error)) throw error;
        await delay(retryDelayMs * attempt, undefined, { signal });
      }
    }
  }

  /** What a failed attempt had counted is taken back. */
  async #extract(level: BackupLevel, tar: StoredTar, signal: AbortSignal): Promise<number> {
    const { store, threads } = this.#options;
    let attemptBytes = 0;
    const onBytes = (sizeBytes: number): void => {
      attemptBytes += sizeBytes;
      this.#bytesFetched += sizeBytes;
      this.#count(sizeBytes);
    };
    try {
      const object = await store.get(tar.info.key, { signal });
      if (object === undefined) throw damaged(tar.info.key, 'it was listed and is absent');
      using body = disposable(readerOf(object.body));
      return await threads.extract(this.#jobOf(level, tar), { body: body.reader, sizeBytes: tar.info.sizeBytes, onBytes });
    } catch (error) {
      this.#count(-attemptBytes);
      throw error;
    }
  }

  #jobOf(level: BackupLevel, tar: StoredTar): ExtractionJob {
    const { chain, into, stateDirectory } = this.#options;
    const isNewest = level === chain.newest;
    const isDelta = level.sentinel.delta !== undefined;
    return {
      key: tar.info.key,
      extension: extensionOfTar(tar.fileName),
      expectedSha256: tar.expected?.sha256,
      placement: {
        into,
        // One place for each tablespace, at every level.
        tablespaces: chain.newest.sentinel.tablespaces,
        isDelta,
        isNewest,
        files: level.list === undefined ? undefined : { names: chain.names.share(), marks: level.list.files.share() },
        lastMembersTo: isNewest ? this.#last.placesIn(tar) : {},
      },
      proveIn: isDelta ? join(stateDirectory, 'proving', `${level.backup}-${tar.fileName}`) : undefined,
    };
  }

  async #finishDirectories(): Promise<void> {
    const { into, chain } = this.#options;
    const places = (chain.newest.sentinel.tablespaces?.tablespaces ?? []).map(({ oid }) => tablespaceDirectory(into, oid));
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
      partsTotal: this.#partsTotal,
    });
  }
}

/** A body that nobody reads to its end holds its socket until it is destroyed. */
function disposable(reader: ByteReader): Disposable & { readonly reader: ByteReader } {
  return { reader, [Symbol.dispose]: () => reader.destroy() };
}

function mayPass(error: unknown): boolean {
  return error instanceof WalkbackError && (error.retryable || error.code === 'OBJECT_DAMAGED');
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
