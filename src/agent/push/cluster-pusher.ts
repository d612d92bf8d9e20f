/** Archives the WAL of one cluster: what PostgreSQL asks for, and ahead of it what it will ask for next. */
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { walFileKind } from '../../domain/wal-segment.ts';
import type { AgentLog } from '../agent-log.ts';
import { resolveInPgWal } from '../pg-wal-path.ts';
import type { ClusterStatus, Failure } from '../protocol.ts';
import type { ClusterRegistration } from '../registration.ts';
import { type Patience, retryWhileUnavailable } from '../retry.ts';
import { SharedRuns } from '../shared-runs.ts';
import type { WalFiles } from '../wal-files.ts';
import { readBacklog } from './archive-status.ts';
import { fileIdentity, missingFile } from './file-identity.ts';
import { PushAhead } from './push-ahead.ts';

/**
 * How long one request is tried again within. PostgreSQL itself tries three times, a second apart, and then waits a minute
 * (pgarch.c: NUM_ARCHIVE_RETRIES, PGARCH_AUTOWAKE_INTERVAL); trying within ends an outage sooner.
 */
const pushPatience: Patience = { totalMs: 30_000, firstDelayMs: 250, maximumDelayMs: 5_000 };

/** What a pusher works with. */
export interface ClusterPusherOptions {
  readonly openFiles: () => Promise<WalFiles>;
  readonly log: AgentLog;
  /** Ends all pushes. */
  readonly signal: AbortSignal;
  /** @default 30 s in all */
  readonly patience?: Patience;
  readonly pushAheadCount?: number;
}

/** One for each registered cluster. */
export class ClusterPusher {
  readonly registration: ClusterRegistration;
  readonly #options: ClusterPusherOptions;
  readonly #runs = new SharedRuns<void>();
  readonly #ahead: PushAhead;
  #lastArchived: { readonly name: string; readonly time: string } | undefined;
  #lastError: Failure | undefined;

  constructor(registration: ClusterRegistration, options: ClusterPusherOptions) {
    this.registration = registration;
    this.#options = options;
    this.#ahead = new PushAhead({
      dataDirectory: registration.dataDirectory,
      runs: this.#runs,
      push: (name, path) => this.#store(name, path),
      log: options.log,
      signal: options.signal,
      ...(options.pushAheadCount === undefined ? {} : { aheadCount: options.pushAheadCount }),
    });
  }

  /**
   * Resolves only when the very file that lies under that name now is durable in the archive.
   * @throws WalkbackError WAL_REFUSED, WAL_CONFLICT, STORAGE_UNREACHABLE, STORAGE_ACCESS_DENIED
   */
  async push(name: string, path = `pg_wal/${name}`): Promise<void> {
    try {
      await this.#push(name, path);
      this.#lastArchived = { name, time: new Date().toISOString() };
      this.#lastError = undefined;
      this.#ahead.resume();
    } catch (error) {
      this.#fail(name, error);
      throw error;
    }
  }

  async status(): Promise<ClusterStatus> {
    const { name, dataDirectory, archiveUrl } = this.registration;
    const backlog = await readBacklog(dataDirectory).catch((error: unknown) => {
      // A data directory that is not there must not hide the state of the other clusters.
      this.#fail('archive_status', error);
      return { count: 0, oldestAgeMs: null };
    });
    return {
      name,
      dataDirectory,
      archiveUrl,
      backlogCount: backlog.count,
      oldestBacklogAgeMs: backlog.oldestAgeMs,
      lastArchivedName: this.#lastArchived?.name ?? null,
      lastArchivedTime: this.#lastArchived?.time ?? null,
      lastError: this.#lastError ?? null,
    };
  }

  /** Resolves when no push is under way. */
  settle(): Promise<void> {
    return this.#runs.settle();
  }

  async #push(name: string, path: string): Promise<void> {
    const realPath = await this.#resolve(name, path);
    const identity = (await fileIdentity(realPath)) ?? missingFile(realPath);
    const isArchived = this.#ahead.take(name, identity);
    void this.#ahead.topUp(name);
    if (isArchived) return;
    const { signal, patience } = this.#options;
    await this.#runs.demand(`${name} ${identity}`, () =>
      retryWhileUnavailable(() => this.#storeAs(identity, name, realPath), { ...(patience ?? pushPatience), signal }),
    );
  }

  async #resolve(name: string, path: string): Promise<string> {
    const realPath = await resolveInPgWal(this.registration.dataDirectory, path);
    if (walFileKind(name) === undefined || !realPath.endsWith(`/${name}`)) {
      throw new WalkbackError('WAL_REFUSED', `${path} is not a WAL file of the name "${name}".`, {
        hint: 'archive_command must hand over %f and %p, as `walkback enable` writes it.',
      });
    }
    return realPath;
  }

  /** Stores the file and makes sure that it was the same one before and after. */
  async #storeAs(identity: string, name: string, path: string): Promise<void> {
    if ((await this.#store(name, path)) !== identity) {
      throw new WalkbackError('WAL_REFUSED', `${path} was replaced by another file while it was archived.`, {
        hint: 'PostgreSQL asks again; if it happens again, look for a second server or program that writes to this directory.',
      });
    }
  }

  /** @returns the identity of the file that was stored */
  async #store(name: string, path: string): Promise<string> {
    const { openFiles, signal } = this.#options;
    const before = (await fileIdentity(path)) ?? missingFile(path);
    const files = await openFiles();
    await files.push({ path, name, systemIdentifier: this.registration.systemIdentifier, signal });
    const after = await fileIdentity(path);
    return before === after ? before : `${before} then ${after}`;
  }

  #fail(name: string, error: unknown): void {
    this.#ahead.pause();
    const code = error instanceof WalkbackError ? error.code : 'INTERNAL';
    this.#lastError = { code, message: messageOf(error), time: new Date().toISOString() };
    this.#options.log.error({ cluster: this.registration.name, name, code, reason: messageOf(error) }, 'A WAL file was not archived.');
  }
}
