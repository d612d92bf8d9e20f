/**
 * The prefetch directory of one restore. A file under its own name is complete, verified and synced: the restore_command of PostgreSQL moves
 * it into place without asking. Unfinished files have another name.
 */
import { type FSWatcher, rmSync, watch } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { isWalSegmentName, type WalSegmentName } from '../../domain/wal-segment.ts';
import type { AgentLog } from '../agent-log.ts';
import { syncFile, unfinishedPathOf, unfinishedPrefix } from '../../files/durable-file.ts';
import type { WalView } from '../registration.ts';
import { SharedRuns } from '../shared-runs.ts';
import { segmentsAfter } from './wal-view.ts';

/** How many segments lie ready before PostgreSQL asks: 128 MiB of the usual size. */
const depthDefaultCount = 8;
/** Replay is one thread and shares the host's cores with us. */
const parallelCount = 2;
/** With less than this free after the next segment, nothing is fetched ahead: the room belongs to replay. */
const diskFloorDefaultBytes = 1024 ** 3;

/** What prefetching works with. */
export interface PrefetcherOptions {
  readonly directory: string;
  readonly view: WalView;
  readonly segmentBytes: number;
  /** Brings a file of the archive to a path; one attempt. */
  readonly download: (name: string, path: string) => Promise<'fetched' | 'absent'>;
  readonly log: AgentLog;
  /** @default 8 */
  readonly depthCount?: number;
  /** @default 1 GiB */
  readonly diskFloorBytes?: number;
}

/** A file that is asked for now. */
export interface Supply {
  /** Wraps the download with the retries of a demanded file. */
  readonly attempts: (work: () => Promise<'fetched' | 'absent'>) => Promise<'fetched' | 'absent'>;
  /** Moves the ready file to where it is wanted. */
  readonly place: (path: string) => Promise<void>;
}

/** Keeps the next segments of one restore ready. */
export class Prefetcher {
  readonly #options: PrefetcherOptions;
  readonly #runs = new SharedRuns<'fetched' | 'absent'>();
  /** Files that were put under their own name and, as far as we know, still lie there. */
  readonly #ready = new Set<string>();
  /** Files being handed over now: not to be removed as stale. */
  readonly #held = new Set<string>();
  /** The last segment that PostgreSQL took. */
  #position: WalSegmentName | undefined;
  #watcher: FSWatcher | undefined;
  #opening: Promise<void> | undefined;
  #isPaused = false;
  #isClosed = false;
  #isScheduled = false;
  #lastLook = Promise.resolve();

  constructor(options: PrefetcherOptions) {
    this.#options = options;
  }

  get position(): string | undefined {
    return this.#position;
  }

  get readyCount(): number {
    return this.#ready.size;
  }

  /** Hands over a file, from the directory or from the archive. */
  async supply(name: string, { attempts, place }: Supply): Promise<'fetched' | 'absent'> {
    await this.#open();
    this.#held.add(name);
    try {
      if (!(await this.#liesReady(name))) {
        if ((await this.#runs.demand(name, () => attempts(() => this.#download(name)))) === 'absent') return 'absent';
        this.#isPaused = false;
      }
      await place(this.#pathOf(name));
      this.#ready.delete(name);
      if (isWalSegmentName(name)) this.#position = name;
      return 'fetched';
    } finally {
      this.#held.delete(name);
      this.#schedule();
    }
  }

  /** Resolves when nothing runs any more. The downloads themselves end by the signal of whoever gave `download`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watcher?.close();
    await this.#runs.settle();
    await this.#lastLook;
  }

  #pathOf(name: string): string {
    return join(this.#options.directory, name);
  }

  /** Once; again after a failure. */
  async #open(): Promise<void> {
    this.#opening ??= this.#clearAndWatch();
    try {
      await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  /** What a killed agent left is not trusted: it is removed, and fetched again when it is needed. */
  async #clearAndWatch(): Promise<void> {
    const { directory, log } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
    // Without notice of what PostgreSQL took, prefetching goes on at its next request to the agent.
    const unwatched = (error: unknown) => log.warn({ directory, reason: messageOf(error) }, 'The prefetch directory is not watched.');
    try {
      this.#watcher = watch(directory, { persistent: false }, (event, name) => {
        if (event === 'rename' && name?.startsWith(unfinishedPrefix) !== true) this.#schedule();
      });
      this.#watcher.on('error', unwatched);
    } catch (error) {
      unwatched(error);
    }
  }

  /** Durable before it is visible under its name: PostgreSQL would take a file of zeros for the end of WAL. */
  async #download(name: string): Promise<'fetched' | 'absent'> {
    const path = this.#pathOf(name);
    const unfinished = unfinishedPathOf(path);
    try {
      if ((await this.#options.download(name, unfinished)) === 'absent') return 'absent';
      await syncFile(unfinished);
      await rename(unfinished, path);
      this.#ready.add(name);
      return 'fetched';
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  /** One look at the directory after the other, and no more than one waiting. */
  #schedule(): void {
    if (this.#isClosed || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#lastLook = this.#lastLook.then(async () => {
      this.#isScheduled = false;
      try {
        await this.#advance();
      } catch (error) {
        this.#options.log.warn({ directory: this.#options.directory, reason: messageOf(error) }, 'Nothing is prefetched.');
      }
    });
  }

  async #advance(): Promise<void> {
    if (this.#isClosed) return;
    await this.#noteTaken();
    const wanted = this.#wanted();
    this.#removeStale(wanted);
    for (const name of wanted) {
      if (this.#isPaused || this.#runs.aheadCount >= parallelCount) return;
      if (this.#ready.has(name) || this.#runs.has(name)) continue;
      if (!(await this.#hasDiskSpace())) return;
      this.#startAhead(name);
    }
  }

  /** The shell of restore_command moves files without telling us; what is gone moves the position. */
  async #noteTaken(): Promise<void> {
    for (const name of this.#wanted()) {
      if (!this.#ready.has(name) || this.#held.has(name) || (await this.#liesReady(name))) continue;
      this.#position = name;
    }
  }

  async #liesReady(name: string): Promise<boolean> {
    if (!this.#ready.has(name)) return false;
    try {
      await stat(this.#pathOf(name));
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#ready.delete(name);
      return false;
    }
  }

  /** Synchronous, so that no download of the same name can come between the decision and the removal. */
  #removeStale(wanted: readonly string[]): void {
    for (const name of this.#ready) {
      if (wanted.includes(name) || this.#held.has(name) || this.#runs.has(name)) continue;
      this.#ready.delete(name);
      rmSync(this.#pathOf(name), { force: true });
    }
  }

  #wanted(): readonly WalSegmentName[] {
    const { view, segmentBytes, depthCount } = this.#options;
    return this.#position === undefined
      ? []
      : segmentsAfter(view, this.#position, { count: depthCount ?? depthDefaultCount, segmentBytes });
  }

  async #hasDiskSpace(): Promise<boolean> {
    const { directory, segmentBytes, diskFloorBytes } = this.#options;
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize - segmentBytes * parallelCount >= (diskFloorBytes ?? diskFloorDefaultBytes);
  }

  #startAhead(name: WalSegmentName): void {
    this.#runs
      .ahead(name, () => this.#download(name))
      .then((outcome) => {
        if (outcome === 'absent') throw new Error('the archive does not hold it any more');
        this.#schedule();
      })
      .catch((error: unknown) => {
        // PostgreSQL will ask for the file, and that request retries and gets the error.
        this.#isPaused = true;
        this.#options.log.warn({ name, reason: messageOf(error) }, 'A WAL file was not prefetched.');
      });
  }
}
