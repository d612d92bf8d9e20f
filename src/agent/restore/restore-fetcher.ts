/** Answers the restore_command of one restore, within the list of WAL that was frozen for it. */
import { renameSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import type { AgentLog } from '../agent-log.ts';
import { syncFile } from '../../files/durable-file.ts';
import { restoreDirectoryName } from '../../postgres/restore-marker.ts';
import { resolveInPgWal } from '../pg-wal-path.ts';
import type { Failure, RestoreStatus } from '../protocol.ts';
import type { RestoreRegistration } from '../registration.ts';
import { repeatWhenDamaged } from '../../storage/damaged-reads.ts';
import { type Patience, retryWhileUnavailable } from '../retry.ts';
import type { WalFiles } from '../wal-files.ts';
import { Prefetcher } from './prefetcher.ts';
import { storedNameOf, viewHolds } from './wal-view.ts';

/** How long a store that does not answer is borne before PostgreSQL is stopped; the same directory goes on later. */
const fetchPatience: Patience = { totalMs: 5 * 60_000, firstDelayMs: 250, maximumDelayMs: 10_000 };

/** What a fetcher works with. */
export interface RestoreFetcherOptions {
  readonly openFiles: () => Promise<WalFiles>;
  readonly log: AgentLog;
  /** @default 5 minutes in all */
  readonly patience?: Partial<Patience>;
  readonly prefetchCount?: number;
  readonly diskFloorBytes?: number;
}

/** Where the prefetched files of a restore lie: inside the data directory, so that `mv` into pg_wal is one rename. */
export function prefetchDirectoryOf(dataDirectory: string): string {
  return join(dataDirectory, restoreDirectoryName, 'prefetch');
}

/** One for each registered restore. */
export class RestoreFetcher {
  readonly registration: RestoreRegistration;
  readonly #options: RestoreFetcherOptions;
  readonly #closing = new AbortController();
  readonly #prefetcher: Prefetcher;
  /** Destination → the request that may write there; a newer one takes it over from one whose asker died. */
  readonly #turns = new Map<string, symbol>();
  #lastError: Failure | undefined;

  constructor(registration: RestoreRegistration, options: RestoreFetcherOptions) {
    this.registration = registration;
    this.#options = options;
    this.#prefetcher = new Prefetcher({
      directory: prefetchDirectoryOf(registration.dataDirectory),
      view: registration.view,
      segmentBytes: registration.segmentBytes,
      download: (name, path) => this.#download(name, path),
      attempts: (work) => this.#attempt(work),
      log: options.log,
      ...(options.prefetchCount === undefined ? {} : { depthCount: options.prefetchCount }),
      ...(options.diskFloorBytes === undefined ? {} : { diskFloorBytes: options.diskFloorBytes }),
    });
  }

  /** Answers the shell of restore_command from now on, and begins to prefetch: PostgreSQL is started soon. */
  async open(): Promise<void> {
    await this.#prefetcher.warmUp();
  }

  /**
   * Puts the verified file at the destination.
   * @returns 'absent' only for names outside the view; the store is not asked for those
   * @throws WalkbackError WAL_MISSING when the store has lost a file of the view, WAL_REFUSED, OBJECT_DAMAGED, STORAGE_UNREACHABLE
   */
  async fetch(name: string, destination: string, options: { readonly signal?: AbortSignal } = {}): Promise<'fetched' | 'absent'> {
    const { dataDirectory, segmentBytes, view } = this.registration;
    if (!viewHolds(view, name, segmentBytes)) return 'absent';
    try {
      const realDestination = await resolveInPgWal(dataDirectory, destination);
      await this.#bring(name, realDestination, options.signal);
      this.#lastError = undefined;
      return 'fetched';
    } catch (error) {
      this.#fail(name, error);
      throw error;
    }
  }

  status(): RestoreStatus {
    const { restoreId, dataDirectory, archiveUrl } = this.registration;
    return {
      restoreId,
      dataDirectory,
      archiveUrl,
      lastFetchedName: this.#prefetcher.position ?? null,
      prefetchedCount: this.#prefetcher.readyCount,
      lastError: this.#lastError ?? null,
    };
  }

  /** Ends all downloads; what is prefetched stays for the server that still runs. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#prefetcher.close();
  }

  /** Removes what was prefetched and is not needed any more. */
  async removePrefetched(): Promise<void> {
    await rm(prefetchDirectoryOf(this.registration.dataDirectory), { recursive: true, force: true });
  }

  async #bring(name: string, destination: string, signal: AbortSignal | undefined): Promise<void> {
    const turn = Symbol(name);
    this.#turns.set(destination, turn);
    const assertAsked = () => {
      if (signal?.aborted !== true && this.#turns.get(destination) === turn) return;
      throw new WalkbackError('CANCELLED', `Whoever asked for ${name} has gone; nothing was written to ${destination}.`);
    };
    try {
      const outcome = await this.#prefetcher.supply(name, (path) => move(path, destination, assertAsked));
      if (outcome === 'absent') throw this.#lost(name);
    } finally {
      if (this.#turns.get(destination) === turn) this.#turns.delete(destination);
    }
  }

  async #attempt(work: () => Promise<'fetched' | 'absent'>): Promise<'fetched' | 'absent'> {
    return await retryWhileUnavailable(() => repeatWhenDamaged(work), {
      ...fetchPatience,
      ...this.#options.patience,
      signal: this.#closing.signal,
    });
  }

  async #download(name: string, path: string): Promise<'fetched' | 'absent'> {
    const files = await this.#options.openFiles();
    const { systemIdentifier, view } = this.registration;
    return files.fetch({ name: storedNameOf(view, name), destination: path, systemIdentifier, signal: this.#closing.signal });
  }

  #lost(name: string): WalkbackError {
    const { archiveUrl, restoreId } = this.registration;
    return new WalkbackError(
      'WAL_MISSING',
      `${name} was proven to be in ${archiveUrl} when restore ${restoreId} was planned, and is gone.`,
      {
        hint: 'Somebody removes WAL that a restore needs: bring it back, look at what deletes from the archive, and restore again.',
        facts: { name, archiveUrl, restoreId },
      },
    );
  }

  #fail(name: string, error: unknown): void {
    const code = error instanceof WalkbackError ? error.code : 'INTERNAL';
    this.#lastError = { code, message: messageOf(error), time: new Date().toISOString() };
    const facts = { restoreId: this.registration.restoreId, name, code, reason: messageOf(error) };
    this.#options.log.error(facts, 'A WAL file was not fetched.');
  }
}

/** The rename is synchronous, so that nobody else's turn begins between the question and the deed. */
async function move(path: string, destination: string, assertAsked: () => void): Promise<void> {
  assertAsked();
  try {
    renameSync(path, destination);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    await copyAcross(path, destination, assertAsked);
  }
}

/** For a pg_wal that is a symbolic link to another file system. */
async function copyAcross(path: string, destination: string, assertAsked: () => void): Promise<void> {
  const copy = `${destination}.walkback`;
  await copyFile(path, copy);
  await syncFile(copy);
  assertAsked();
  renameSync(copy, destination);
  await rm(path, { force: true });
}
