/**
 * Writes the files of a base backup into a new data directory, durably. Writing is synchronous, for threads that do nothing else; syncing goes
 * on behind it, because the disk is slower than the page cache and would otherwise be idle until the end.
 */
import { chmodSync, fchmodSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { syncFileAtOnce } from '../../files/durable-file.ts';
import { threadPoolSize } from '../../files/thread-pool.ts';
import { allEnded } from '../parallel.ts';
import type { MemberSink, TarMember } from '../tar-reader.ts';
import { CachedFile } from './cached-file.ts';
import { DirectFile, openDirect } from './direct-file.ts';
import { DirectWrites } from './direct-writes.ts';
import { IncrementSink } from './increment.ts';

/** A batch is synced when it has so many bytes or files. */
const batchBytes = 16 * 1024 * 1024;
const batchFiles = 128;
/** So many batches may be on their way to the disk, which is slower at times than those who write, and faster at others. */
const batchesAhead = 4;
/** Files synced at a time: a base backup has a thousand small ones. */
const syncConcurrency = threadPoolSize;
/** Smaller files go through the page cache: each that does not needs a sync of its own. */
const directMinimumBytes = batchBytes;
/** PostgreSQL accepts a data directory of mode 0700 or 0750 (manual, "Creating a Database Cluster"): nobody outside the group gets in. */
const modeMask = 0o750;

export class RestoredTree {
  readonly #directories = new Set<string>();
  #batch = new Set<string>();
  #batchBytes = 0;
  /** Batches on their way to the disk, the oldest first. */
  #syncing: Promise<void>[] = [];
  #open: { close: () => void | Promise<void> } | undefined;
  readonly #writes: DirectWrites;

  constructor(writes: DirectWrites = new DirectWrites()) {
    this.#writes = writes;
  }

  /** Makes a directory with the member's mode. */
  directory(path: string, mode: number): void {
    this.#ensureDirectory(path);
    chmodSync(path, (mode & modeMask) | 0o700);
  }

  /** Takes a file's content, in place of what the file held. */
  file(path: string, { mode, sizeBytes }: Pick<TarMember, 'mode' | 'sizeBytes'>): MemberSink {
    this.#ensureDirectory(dirname(path));
    const ownMode = (mode & modeMask) | 0o600;
    const direct = sizeBytes >= directMinimumBytes && this.#writes.areWanted ? openDirect(path, ownMode) : undefined;
    const file = direct ?? openSync(path, 'w', ownMode);
    // Neither the umask nor an older file decides.
    fchmodSync(file, ownMode);
    const onCached = (writtenBytes: number): void => this.#wrote(path, writtenBytes);
    if (direct !== undefined) return this.#directSink(new DirectFile({ path, file, sizeBytes, writes: this.#writes, onCached }));
    const sink = new CachedFile(file, 0, onCached);
    this.#open = sink;
    const end = (): void => {
      sink.end();
      this.#end(path);
    };
    return { write: (piece) => sink.write(piece), end };
  }

  /** Takes changed pages of a file that is there. */
  increment(path: string, member: { readonly name: string; readonly sizeBytes: number }): MemberSink {
    const sink = new IncrementSink(path, member);
    this.#open = sink;
    const end = (): void => {
      sink.end();
      this.#wrote(path, member.sizeBytes);
      this.#end(path);
    };
    return { write: (piece) => sink.write(piece), end };
  }

  /**
   * Starts syncing a full batch; waits while too many are not done, so that dirty pages have a bound. A thread that writes what is at hand would not hear
   * that files were synced, and not begin with the next ones: it has its turn after each batch.
   * @throws the error of a sync
   */
  async drain(): Promise<void> {
    await this.#writes.room();
    if (this.#batchBytes < batchBytes && this.#batch.size < batchFiles) return;
    this.#follow(syncAll(this.#batch));
    this.#batch = new Set();
    this.#batchBytes = 0;
    await nextTurn();
    while (this.#syncing.length > batchesAhead) await this.#syncing.shift();
  }

  /** Waits until everything that was written is durable, names included. */
  async sync(): Promise<void> {
    this.#syncing.push(syncAll(this.#batch));
    await Promise.all(this.#syncing);
    await syncAll(this.#directories);
  }

  /** Lets go of what is open, and waits until nothing is being synced. */
  async close(): Promise<void> {
    await this.#open?.close();
    this.#open = undefined;
    // Whoever had to know of an error has it from drain or sync.
    await Promise.allSettled(this.#syncing);
    await this.#writes.close();
  }

  #directSink(sink: DirectFile): MemberSink {
    this.#open = sink;
    const end = (): void => {
      sink.end();
      this.#open = undefined;
      this.#follow(sink.finished());
    };
    return { write: (piece) => sink.write(piece), target: () => sink.target(), end };
  }

  /** The error is thrown where it is awaited, by a later drain or by sync. */
  #follow(syncing: Promise<void>): void {
    syncing.catch(() => undefined);
    this.#syncing.push(syncing);
  }

  #wrote(path: string, sizeBytes: number): void {
    this.#batch.add(path);
    this.#batchBytes += sizeBytes;
  }

  #end(path: string): void {
    this.#open = undefined;
    this.#batch.add(path);
  }

  /** A part may hold files whose directory is a member of another. */
  #ensureDirectory(path: string): void {
    if (this.#directories.has(path)) return;
    mkdirSync(path, { recursive: true, mode: 0o700 });
    this.#directories.add(path);
    this.#directories.add(dirname(path));
  }
}

/** Nothing is being synced any more when this ends, also with an error. */
async function syncAll(paths: ReadonlySet<string>): Promise<void> {
  const waiting = paths.values();
  const syncNext = async (): Promise<void> => {
    for (const path of waiting) await syncFileAtOnce(path);
  };
  await allEnded(Array.from({ length: syncConcurrency }, syncNext));
}
