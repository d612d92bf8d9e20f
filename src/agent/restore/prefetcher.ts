/**
 * The prefetch directory of one restore. A file under its own name is complete, verified and synced: the restore_command of PostgreSQL moves
 * it into place without asking. Unfinished files have another name.
 */
import { type FSWatcher, rmSync } from 'node:fs';
import { access, mkdir, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';
import { isWalSegmentName, walFileKind, type WalSegmentName } from '../../domain/wal-segment.ts';
import type { AgentLog } from '../agent-log.ts';
import { unfinishedPrefix } from '../../files/durable-file.ts';
import type { WalView } from '../registration.ts';
import { SharedRuns } from '../shared-runs.ts';
import { emptyDirectory, endWait, nameWanted, wantedSuffix, watchDirectory } from '../shell/answer-directory.ts';
import { firstSegments, segmentsAfter, viewHolds } from './wal-view.ts';

/** Behind a name that is proven absent for this restore: the shell ends with exit code 1. */
export const absentSuffix = '.absent';
/** PostgreSQL asks for a few names beyond the view, at the end of it. */
const absentMaximumCount = 64;

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
  /** Brings a file of the archive to a path, complete and synced before it has that name; one attempt. */
  readonly download: (name: string, path: string) => Promise<'fetched' | 'absent'>;
  /** Wraps the download with the retries of a demanded file. */
  readonly attempts: (work: () => Promise<'fetched' | 'absent'>) => Promise<'fetched' | 'absent'>;
  readonly log: AgentLog;
  /** @default 8 */
  readonly depthCount?: number;
  /** @default 1 GiB */
  readonly diskFloorBytes?: number;
}

/** Keeps the next segments of one restore ready. */
export class Prefetcher {
  readonly #options: PrefetcherOptions;
  readonly #runs = new SharedRuns<'fetched' | 'absent'>();
  /** Files that were put under their own name and, as far as we know, still lie there. */
  readonly #ready = new Set<string>();
  /** Files being handed over now: not to be removed as stale. */
  readonly #held = new Set<string>();
  /** The file that the shell was promised last: not to be removed as stale either. PostgreSQL asks for one at a time. */
  #offered: string | undefined;
  /** Names that the shell waits for. */
  readonly #wanted = new Map<string, Promise<void>>();
  /** Names of which the shell was told that they are absent. */
  readonly #absent = new Set<string>();
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

  /**
   * Answers from now on what the shell of restore_command asks by files, and fetches what replay needs first. A failure is no reason to refuse
   * the restore: the next request opens it again.
   */
  async warmUp(): Promise<void> {
    try {
      await this.#open();
      this.#schedule();
    } catch (error) {
      this.#options.log.warn({ directory: this.#options.directory, reason: messageOf(error) }, 'Nothing is prefetched yet.');
    }
  }

  /**
   * Hands over a file, from the directory or from the archive.
   * @param place moves the ready file to where it is wanted
   */
  async supply(name: string, place: (path: string) => Promise<void>): Promise<'fetched' | 'absent'> {
    await this.#open();
    this.#held.add(name);
    try {
      if ((await this.#makeReady(name)) === 'absent') return 'absent';
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
    await Promise.allSettled(this.#wanted.values());
    await this.#lastLook;
  }

  async #makeReady(name: string): Promise<'fetched' | 'absent'> {
    if (await this.#liesReady(name)) return 'fetched';
    const outcome = await this.#runs.demand(name, () => this.#options.attempts(() => this.#download(name)));
    if (outcome === 'fetched') this.#isPaused = false;
    return outcome;
  }

  #noteChange(fileName: string | undefined): void {
    if (fileName?.startsWith(unfinishedPrefix) === true) return;
    const name = nameWanted(fileName);
    if (name !== undefined) this.#answerShell(name);
    else if (fileName?.endsWith(absentSuffix) !== true) this.#schedule();
  }

  /** What the shell asks for by a file; the answer is the file itself, the proof that it is absent or, without either, the end of its wait. */
  #answerShell(name: string): void {
    if (this.#wanted.has(name) || this.#isClosed) return;
    const answering = this.#answer(name)
      .catch((error: unknown) => {
        // The question over the socket that follows gets the same error.
        this.#options.log.warn({ name, reason: messageOf(error) }, 'A WAL file that PostgreSQL waits for could not be fetched.');
      })
      .finally(() => this.#wanted.delete(name));
    this.#wanted.set(name, answering);
  }

  async #answer(name: string): Promise<void> {
    const { directory, view, segmentBytes } = this.#options;
    const isAsked = await access(this.#pathOf(`${name}${wantedSuffix}`)).then(
      () => true,
      // The notice was of the question's removal.
      () => false,
    );
    if (!isAsked) return;
    try {
      if (!viewHolds(view, name, segmentBytes)) await this.#sayAbsent(name);
      else await this.#fetchForShell(name);
    } finally {
      await endWait(directory, name);
      this.#schedule();
    }
  }

  async #fetchForShell(name: string): Promise<void> {
    this.#offered = name;
    await this.#makeReady(name);
    if (isWalSegmentName(name)) this.#position = name;
  }

  /** Names beyond the view never become others for this restore, so the proof stays. */
  async #sayAbsent(name: string): Promise<void> {
    if (walFileKind(name) === undefined || this.#absent.size >= absentMaximumCount) return;
    await writeFile(this.#pathOf(`${name}${absentSuffix}`), '', { mode: 0o600 });
    this.#absent.add(name);
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
    await emptyDirectory(directory);
    this.#watcher?.close();
    this.#watcher = watchDirectory(directory, {
      onChange: (fileName) => this.#noteChange(fileName),
      // Without notice of what PostgreSQL took, prefetching goes on at its next request to the agent.
      onUnwatched: (reason) => log.warn({ directory, reason }, 'The prefetch directory is not watched.'),
    });
  }

  /** Synced before it is visible under its name: PostgreSQL would take a file of zeros for the end of WAL. */
  async #download(name: string): Promise<'fetched' | 'absent'> {
    const outcome = await this.#options.download(name, this.#pathOf(name));
    if (outcome === 'fetched') this.#ready.add(name);
    return outcome;
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
    const needed = this.#needed();
    this.#removeStale(needed);
    for (const name of needed) {
      if (this.#isPaused || this.#runs.aheadCount >= parallelCount) return;
      if (this.#ready.has(name) || this.#runs.has(name)) continue;
      if (!(await this.#hasDiskSpace())) return;
      this.#startAhead(name);
    }
  }

  /** The shell of restore_command moves files without telling us; what is gone moves the position. */
  async #noteTaken(): Promise<void> {
    for (const name of this.#needed()) {
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
  #removeStale(needed: readonly string[]): void {
    for (const name of this.#ready) {
      if (needed.includes(name) || name === this.#offered || this.#held.has(name) || this.#runs.has(name)) continue;
      this.#ready.delete(name);
      rmSync(this.#pathOf(name), { force: true });
    }
  }

  /** What replay needs next, or first. */
  #needed(): readonly WalSegmentName[] {
    const { view, segmentBytes, depthCount } = this.#options;
    const options = { count: depthCount ?? depthDefaultCount, segmentBytes };
    return this.#position === undefined ? firstSegments(view, options) : segmentsAfter(view, this.#position, options);
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
