/**
 * PostgreSQL asks for one WAL file at a time. When more are ready, the next ones are archived before it asks, and each such acknowledgement
 * is bound to the very file that was stored: another file under the same name is pushed like any other.
 */
import { messageOf } from '../../domain/errors.ts';
import type { AgentLog } from '../agent-log.ts';
import type { SharedRuns } from '../shared-runs.ts';
import { resolveInPgWal } from '../pg-wal-path.ts';
import { isReady, readyNames } from './archive-status.ts';
import { fileIdentity } from './file-identity.ts';

/** How many files may be archived, or be on their way, before PostgreSQL asks for them. */
const aheadCountDefault = 8;
/** How many of them are pushed at once: redo and compression share the host with PostgreSQL. */
const parallelCount = 2;
/** How many names one reading of archive_status is good for; it may hold a hundred thousand files after an outage. */
const queueMaximumCount = 256;

/** What pushing ahead works with. */
export interface PushAheadOptions {
  readonly dataDirectory: string;
  /** Shared with the pushes that PostgreSQL asks for, under the key `name identity`. */
  readonly runs: SharedRuns<void>;
  /** @returns the identity of the file that was stored */
  readonly push: (name: string, path: string) => Promise<string>;
  readonly log: AgentLog;
  readonly signal: AbortSignal;
  /** @default 8 */
  readonly aheadCount?: number;
}

/** One for each cluster. */
export class PushAhead {
  readonly #options: PushAheadOptions;
  /** Name → identity of the file that is durable in the archive and not asked for yet. */
  readonly #archived = new Map<string, string>();
  readonly #pushing = new Set<string>();
  #queue: string[] = [];
  #isPaused = false;
  #isToppingUp = false;

  constructor(options: PushAheadOptions) {
    this.#options = options;
  }

  /** Was exactly this file archived ahead? The knowledge is used up by asking. */
  take(name: string, identity: string): boolean {
    const archived = this.#archived.get(name);
    this.#archived.delete(name);
    return archived === identity;
  }

  /** Stops starting new pushes: the store does not take what PostgreSQL asks for, so it needs no more. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** Starts pushes until enough are under way. Never rejects: a failure ahead of demand costs nothing but the head start. */
  async topUp(demandedName: string): Promise<void> {
    if (this.#isToppingUp) return;
    this.#isToppingUp = true;
    try {
      await this.#forgetDone();
      while (this.#hasRoom()) {
        const name = await this.#nextName(demandedName);
        if (name === undefined) break;
        await this.#start(name, demandedName);
      }
    } catch (error) {
      this.#options.log.warn({ reason: messageOf(error) }, 'WAL files are not archived ahead.');
    } finally {
      this.#isToppingUp = false;
    }
  }

  #hasRoom(): boolean {
    const aheadCount = this.#options.aheadCount ?? aheadCountDefault;
    if (this.#isPaused || this.#options.signal.aborted) return false;
    return this.#pushing.size < parallelCount && this.#archived.size + this.#pushing.size < aheadCount;
  }

  /** Files that PostgreSQL took for archived by another way must not fill the window. */
  async #forgetDone(): Promise<void> {
    for (const name of this.#archived.keys()) {
      if (!(await isReady(this.#options.dataDirectory, name))) this.#archived.delete(name);
    }
  }

  async #nextName(demandedName: string): Promise<string | undefined> {
    const { dataDirectory } = this.#options;
    if (this.#queue.length === 0) this.#queue = [...(await readyNames(dataDirectory, queueMaximumCount))];
    for (let name = this.#queue.shift(); name !== undefined; name = this.#queue.shift()) {
      const isKnown = name === demandedName || this.#archived.has(name) || this.#pushing.has(name);
      if (!isKnown && (await isReady(dataDirectory, name))) return name;
    }
    return undefined;
  }

  async #start(name: string, demandedName: string): Promise<void> {
    const { dataDirectory, runs, push, log } = this.#options;
    const path = await resolveInPgWal(dataDirectory, `pg_wal/${name}`);
    const identity = await fileIdentity(path);
    const key = `${name} ${identity}`;
    if (identity === undefined || runs.has(key)) return;
    this.#pushing.add(name);
    const run = runs.ahead(key, async () => {
      if ((await push(name, path)) !== identity) throw new Error(`${path} was replaced while it was archived`);
      this.#archived.set(name, identity);
    });
    run
      .catch((error: unknown) => {
        this.pause();
        log.warn({ name, reason: messageOf(error) }, 'A WAL file was not archived ahead; PostgreSQL will ask for it.');
      })
      .finally(() => {
        this.#pushing.delete(name);
        void this.topUp(demandedName);
      });
  }
}
