/** Archives the WAL of one cluster: what PostgreSQL asks for, and ahead of it what it will ask for next. */
import { type FSWatcher } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { walFileKind } from '../../domain/wal-segment.ts';
import type { AgentLog } from '../agent-log.ts';
import { resolveInPgWal } from '../pg-wal-path.ts';
import type { ClusterStatus, Failure } from '../protocol.ts';
import type { ClusterRegistration } from '../registration.ts';
import { type Patience, retryWhileUnavailable } from '../retry.ts';
import { nameWanted, wantedSuffix, watchDirectory } from '../shell/answer-directory.ts';
import { SharedRuns } from '../shared-runs.ts';
import type { WalFiles } from '../wal-files.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { readBacklog } from './archive-status.ts';
import { fileIdentity, missingFile } from './file-identity.ts';
import { AlarmLog, archivingAlarms, archivingThresholdDefaults, type ArchivingThresholds } from './archiving-alarms.ts';
import { PushAhead } from './push-ahead.ts';
import { Refusals } from './refusals.ts';

/**
 * How long one request is tried again within. PostgreSQL itself tries three times, a second apart, and then waits a minute
 * (pgarch.c: NUM_ARCHIVE_RETRIES, PGARCH_AUTOWAKE_INTERVAL); trying within ends an outage sooner.
 */
const pushPatience: Patience = { totalMs: 30_000, firstDelayMs: 250, maximumDelayMs: 5_000 };

/** Reading a list of a hundred thousand files costs a tenth of a second. */
const lookoutIntervalMs = 15_000;

/** What a pusher works with. */
export interface ClusterPusherOptions {
  readonly openFiles: () => Promise<WalFiles>;
  readonly log: AgentLog;
  /** Where the shell of archive_command looks for acknowledgements. */
  readonly acknowledgementsPath: string;
  /** @default 30 s in all */
  readonly patience?: Patience;
  readonly pushAheadCount?: number;
  /** When a person is told. */
  readonly thresholds?: ArchivingThresholds;
  /** How often the thresholds are looked at. @default 15 s */
  readonly lookoutIntervalMs?: number;
}

/** One for each registered cluster. */
export class ClusterPusher {
  readonly registration: ClusterRegistration;
  readonly #options: ClusterPusherOptions;
  readonly #runs = new SharedRuns<void>();
  readonly #ahead: PushAhead;
  readonly #acknowledgements: Acknowledgements;
  readonly #alarmLog: AlarmLog;
  readonly #refusals: Refusals;
  readonly #closing = new AbortController();
  /** Names that the shell waits for. */
  readonly #wanted = new Map<string, Promise<void>>();
  #watcher: FSWatcher | undefined;
  #lookout: NodeJS.Timeout | undefined;
  #lastArchived: { readonly name: string; readonly time: string } | undefined;
  #lastError: Failure | undefined;

  constructor(registration: ClusterRegistration, options: ClusterPusherOptions) {
    this.registration = registration;
    const { dataDirectory } = registration;
    const { log, acknowledgementsPath } = options;
    this.#options = options;
    this.#alarmLog = new AlarmLog(log, registration.name);
    this.#refusals = new Refusals(dataDirectory);
    this.#acknowledgements = new Acknowledgements({ publicPath: acknowledgementsPath, dataDirectory, log });
    this.#ahead = new PushAhead({
      dataDirectory,
      runs: this.#runs,
      push: (name, path) => this.#store(name, path),
      forget: (name) => this.#acknowledgements.forget(name),
      log,
      signal: this.#closing.signal,
      ...(options.pushAheadCount === undefined ? {} : { aheadCount: options.pushAheadCount }),
    });
  }

  /** Answers from now on what the shell of archive_command asks by files. */
  async open(): Promise<void> {
    this.#lookout = setInterval(() => void this.status(), this.#options.lookoutIntervalMs ?? lookoutIntervalMs).unref();
    await this.#acknowledgements.open();
    const { directory } = this.#acknowledgements;
    if (directory === undefined) return;
    this.#watcher = watchDirectory(directory, {
      onChange: (fileName) => {
        const name = nameWanted(fileName);
        if (name !== undefined) this.#answerShell(directory, name);
      },
      onUnwatched: (reason) => this.#options.log.warn({ directory, reason }, 'Acknowledgements are given over the socket.'),
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
      this.#refusals.forget(name);
      this.#ahead.resume();
    } catch (error) {
      this.#fail(name, error);
      throw error;
    }
  }

  async status(): Promise<ClusterStatus> {
    const { name, dataDirectory, archiveUrl, segmentBytes } = this.registration;
    const backlog = await readBacklog(dataDirectory).catch((error: unknown) => {
      // A data directory that is not there must not hide the state of the other clusters.
      this.#fail('archive_status', error);
      return { count: 0, segmentCount: 0, oldestAgeMs: null };
    });
    const state = {
      backlogCount: backlog.count,
      oldestBacklogAgeMs: backlog.oldestAgeMs,
      pgWalFreeBytes: await freeBytesOf(join(dataDirectory, 'pg_wal')),
    };
    const refusals = await this.#refusals.waiting();
    const alarms = archivingAlarms({ ...state, refusals }, this.#options.thresholds ?? archivingThresholdDefaults);
    this.#alarmLog.note(alarms);
    return {
      name,
      dataDirectory,
      archiveUrl,
      ...state,
      backlogBytes: backlog.segmentCount * segmentBytes,
      alarms: [...alarms],
      lastArchivedName: this.#lastArchived?.name ?? null,
      lastArchivedTime: this.#lastArchived?.time ?? null,
      lastError: this.#lastError ?? null,
    };
  }

  /** Ends all pushes and takes the acknowledgements back. Resolves when no push is under way. */
  async close(reason?: Error): Promise<void> {
    this.#closing.abort(reason);
    clearInterval(this.#lookout);
    this.#watcher?.close();
    await this.#ahead.close();
    await this.#runs.settle();
    await Promise.allSettled(this.#wanted.values());
    await this.#acknowledgements.close();
  }

  async #push(name: string, path: string): Promise<void> {
    const realPath = await this.#resolve(name, path);
    const identity = (await fileIdentity(realPath)) ?? missingFile(realPath);
    if (this.#ahead.isArchived(name, identity)) return void this.#ahead.begin();
    const archived = this.#runs.demand(`${name} ${identity}`, () =>
      retryWhileUnavailable(() => this.#storeAs(identity, name, realPath), {
        ...(this.#options.patience ?? pushPatience),
        signal: this.#closing.signal,
      }),
    );
    // The run above is under way, so that it is not begun a second time.
    void this.#ahead.begin();
    await archived;
    this.#ahead.note(name, identity);
  }

  /** What the shell asks for by a file; the answer is the acknowledgement or, when there is none, the end of its wait. */
  #answerShell(directory: string, name: string): void {
    if (this.#wanted.has(name)) return;
    const answer = async () => {
      const isAsked = await access(join(directory, `${name}${wantedSuffix}`)).then(
        () => true,
        // The notice was of the question's removal.
        () => false,
      );
      if (!isAsked) return;
      try {
        await this.push(name);
      } catch {
        // It is logged, and told to the question over the socket that follows.
      } finally {
        await this.#acknowledgements.endWait(name);
      }
    };
    const answering = answer().finally(() => this.#wanted.delete(name));
    this.#wanted.set(name, answering);
    answering.catch((error: unknown) =>
      this.#options.log.warn({ name, reason: messageOf(error) }, 'The shell is left to its own patience.'),
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
    const { systemIdentifier } = this.registration;
    return await this.#acknowledgements.prove(name, path, async () => {
      const before = (await fileIdentity(path)) ?? missingFile(path);
      const files = await this.#options.openFiles();
      await files.push({ path, name, systemIdentifier, signal: this.#closing.signal });
      const after = await fileIdentity(path);
      return before === after ? before : `${before} then ${after}`;
    });
  }

  #fail(name: string, error: unknown): void {
    this.#ahead.pause();
    const code = error instanceof WalkbackError ? error.code : 'INTERNAL';
    this.#refusals.note(name, code);
    this.#lastError = { code, message: messageOf(error), time: new Date().toISOString() };
    this.#options.log.error({ cluster: this.registration.name, name, code, reason: messageOf(error) }, 'A WAL file was not archived.');
  }
}

/** Null when the directory is not there; its reason is in the status already. */
async function freeBytesOf(directory: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}
