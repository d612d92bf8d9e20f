/**
 * PostgreSQL asks for one WAL file at a time. Once it has asked, the files that are ready are archived before it asks for them, and each such
 * acknowledgement is bound to the very file that was stored: another file under the same name is pushed like any other.
 */
import type { FSWatcher } from 'node:fs';
import { messageOf } from '../../domain/errors.ts';
import type { AgentLog } from '../agent-log.ts';
import { watchDirectory } from '../shell/answer-directory.ts';
import type { SharedRuns } from '../shared-runs.ts';
import { resolveInPgWal } from '../pg-wal-path.ts';
import { isReady, nameDone, nameReady, readyNames, statusDirectoryOf } from './archive-status.ts';
import { fileIdentity } from './file-identity.ts';

/** How many files may be archived, or be on their way, before PostgreSQL asks for them. It takes them faster than they can be stored. */
const aheadCountDefault = 32;
/** How many of them are pushed at once: redo and compression share the host with PostgreSQL. */
const parallelCount = 3;
/** How many names one reading of archive_status is good for; it may hold a hundred thousand files after an outage. */
const queueMaximumCount = 256;

/** What pushing ahead works with. */
export interface PushAheadOptions {
  readonly dataDirectory: string;
  /** Shared with the pushes that PostgreSQL asks for, under the key `name identity`. */
  readonly runs: SharedRuns<void>;
  /** @returns the identity of the file that was stored */
  readonly push: (name: string, path: string) => Promise<string>;
  /** Takes back the proof that was given of a file: PostgreSQL asks no more. */
  readonly forget: (name: string) => Promise<void>;
  readonly log: AgentLog;
  readonly signal: AbortSignal;
  /** @default 32 */
  readonly aheadCount?: number;
}

/** One for each cluster. */
export class PushAhead {
  readonly #options: PushAheadOptions;
  /** Name → identity of the file that is durable in the archive and still waits in PostgreSQL's list. */
  readonly #archived = new Map<string, string>();
  readonly #pushing = new Set<string>();
  #watcher: FSWatcher | undefined;
  #queue: string[] = [];
  /** May there be names that are neither queued nor archived? */
  #hasUnreadNames = true;
  /** Does PostgreSQL archive by our command? A file that another command archives must not be pushed twice. */
  #isAsked = false;
  #isPaused = false;
  #lookAgain = false;
  #toppingUp: Promise<void> | undefined;

  constructor(options: PushAheadOptions) {
    this.#options = options;
  }

  /** Is exactly this file in the archive already? */
  isArchived(name: string, identity: string): boolean {
    return this.#archived.get(name) === identity;
  }

  /** A file that PostgreSQL asked for is durable. */
  note(name: string, identity: string): void {
    this.#archived.set(name, identity);
  }

  /** Stops starting new pushes: the store does not take what PostgreSQL asks for, so it needs no more. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    // What failed, or was passed over meanwhile, is in no queue any more.
    this.#hasUnreadNames = true;
    void this.#topUp();
  }

  /** PostgreSQL has asked by our command: starts pushes until enough are under way. */
  async begin(): Promise<void> {
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#hasUnreadNames = true;
      this.#watcher ??= this.#watch();
    }
    await this.#topUp();
  }

  /** Starts nothing any more. Resolves when nothing looks at the files. */
  async close(): Promise<void> {
    this.#isAsked = false;
    this.#watcher?.close();
    await this.#toppingUp;
  }

  #watch(): FSWatcher | undefined {
    return watchDirectory(statusDirectoryOf(this.#options.dataDirectory), {
      onChange: (fileName) => this.#noteChange(fileName),
      // Without notice of new files, pushing ahead goes on with each request of PostgreSQL.
      onUnwatched: (reason) => this.#options.log.warn({ reason }, 'archive_status is not watched.'),
    });
  }

  #noteChange(fileName: string | undefined): void {
    const ready = nameReady(fileName);
    const done = nameDone(fileName);
    if (done !== undefined) void this.#forget(done);
    if (ready === undefined && fileName !== undefined) return;
    if (ready === undefined || this.#queue.length >= queueMaximumCount) this.#hasUnreadNames = true;
    else if (!this.#queue.includes(ready)) this.#queue.push(ready);
    void this.#topUp();
  }

  /** One at a time, and once more when something changed meanwhile. Never rejects: a failure ahead of demand costs only the head start. */
  async #topUp(): Promise<void> {
    this.#lookAgain = true;
    this.#toppingUp ??= this.#topUpUntilStill();
    await this.#toppingUp;
  }

  async #topUpUntilStill(): Promise<void> {
    try {
      while (this.#lookAgain) {
        this.#lookAgain = false;
        await this.#startAll();
      }
    } catch (error) {
      this.#options.log.warn({ reason: messageOf(error) }, 'WAL files are not archived ahead.');
    } finally {
      this.#toppingUp = undefined;
    }
  }

  async #startAll(): Promise<void> {
    if (this.#isFull()) await this.#forgetDone();
    while (this.#mayStart()) {
      const name = await this.#nextName();
      if (name === undefined) return;
      await this.#start(name);
    }
  }

  #isFull(): boolean {
    return this.#archived.size + this.#pushing.size >= (this.#options.aheadCount ?? aheadCountDefault);
  }

  #mayStart(): boolean {
    if (!this.#isAsked || this.#isPaused || this.#options.signal.aborted) return false;
    return this.#pushing.size < parallelCount && !this.#isFull();
  }

  /** Files of which no notice came must not fill the window. */
  async #forgetDone(): Promise<void> {
    for (const name of this.#archived.keys()) {
      if (!(await isReady(this.#options.dataDirectory, name))) await this.#forget(name);
    }
  }

  async #forget(name: string): Promise<void> {
    if (!this.#archived.delete(name)) return;
    await this.#options.forget(name).catch((error: unknown) => {
      // The proof stays right; it only lies there until the agent ends.
      this.#options.log.warn({ name, reason: messageOf(error) }, 'The acknowledgement of a WAL file cannot be removed.');
    });
  }

  async #nextName(): Promise<string | undefined> {
    const { dataDirectory } = this.#options;
    if (this.#queue.length === 0 && (this.#hasUnreadNames || this.#watcher === undefined)) {
      const names = await readyNames(dataDirectory, queueMaximumCount);
      this.#hasUnreadNames = names.length === queueMaximumCount;
      this.#queue = [...names];
    }
    for (let name = this.#queue.shift(); name !== undefined; name = this.#queue.shift()) {
      const isKnown = this.#archived.has(name) || this.#pushing.has(name);
      if (!isKnown && (await isReady(dataDirectory, name))) return name;
    }
    return undefined;
  }

  async #start(name: string): Promise<void> {
    const { dataDirectory, runs, push, log } = this.#options;
    const path = await resolveInPgWal(dataDirectory, `pg_wal/${name}`);
    const identity = await fileIdentity(path);
    const key = `${name} ${identity}`;
    // What PostgreSQL asked for may have been archived while its file was looked at.
    if (identity === undefined || runs.has(key) || this.isArchived(name, identity)) return;
    this.#pushing.add(name);
    const run = runs.ahead(key, async () => {
      if ((await push(name, path)) !== identity) throw new Error(`${path} was replaced while it was archived`);
      await this.#keep(name, identity);
    });
    run
      .catch((error: unknown) => {
        this.pause();
        log.warn({ name, reason: messageOf(error) }, 'A WAL file was not archived ahead; PostgreSQL will ask for it.');
      })
      .finally(() => {
        this.#pushing.delete(name);
        void this.#topUp();
      });
  }

  /** Who took it from the list without our word archives by another command. */
  async #keep(name: string, identity: string): Promise<void> {
    this.#archived.set(name, identity);
    if (await isReady(this.#options.dataDirectory, name)) return;
    // Before anything is waited for: a file that becomes ready meanwhile is the other command's too.
    this.#isAsked = false;
    this.#options.log.info({ name }, 'PostgreSQL archives by another command: no file is archived ahead until it asks again.');
    await this.#forget(name);
  }
}
