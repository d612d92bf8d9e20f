/**
 * Writes the files of a base backup into a new data directory, durably. Writing is synchronous, for threads that do nothing else; syncing goes
 * on behind it, because the disk is slower than the page cache and would otherwise be idle until the end.
 */
import { chmodSync, closeSync, fchmodSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { syncFileAtOnce } from '../../files/durable-file.ts';
import { threadPoolSize } from '../../files/thread-pool.ts';
import { allEnded } from '../parallel.ts';
import type { MemberSink } from '../tar-reader.ts';
import { IncrementSink } from './increment.ts';

/**
 * Bytes of one write call. Larger calls leave large folios in the page cache, and replay of WAL over them is 60 % slower (measured on ext4, Linux 6.18).
 */
const writeCallBytes = 64 * 1024;
/** A batch is synced when it has so many bytes or files. */
const batchBytes = 16 * 1024 * 1024;
const batchFiles = 128;
/** So many batches may be on their way to the disk, which is slower at times than those who write, and faster at others. */
const batchesAhead = 4;
/** Files synced at a time: a base backup has a thousand small ones. */
const syncConcurrency = threadPoolSize;
/** PostgreSQL accepts a data directory of mode 0700 or 0750 (manual, "Creating a Database Cluster"): nobody outside the group gets in. */
const modeMask = 0o750;

export class RestoredTree {
  readonly #directories = new Set<string>();
  #batch = new Set<string>();
  #batchBytes = 0;
  /** Batches on their way to the disk, the oldest first. */
  #syncing: Promise<void>[] = [];
  #open: { close: () => void } | undefined;

  /** Makes a directory with the member's mode. */
  directory(path: string, mode: number): void {
    this.#ensureDirectory(path);
    chmodSync(path, (mode & modeMask) | 0o700);
  }

  /** Takes a file's content, in place of what the file held. */
  file(path: string, mode: number): MemberSink {
    this.#ensureDirectory(dirname(path));
    const file = openSync(path, 'w', (mode & modeMask) | 0o600);
    // Neither the umask nor an older file decides.
    fchmodSync(file, (mode & modeMask) | 0o600);
    const sink = new FileSink(file, (sizeBytes) => this.#wrote(path, sizeBytes));
    this.#open = sink;
    return { write: (piece) => sink.write(piece), end: () => this.#end(path) };
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
    if (this.#batchBytes < batchBytes && this.#batch.size < batchFiles) return;
    const syncing = syncAll(this.#batch);
    // The error is thrown where it is awaited, by a later drain or by sync.
    syncing.catch(() => undefined);
    this.#syncing.push(syncing);
    this.#batch = new Set();
    this.#batchBytes = 0;
    await nextTurn();
    if (this.#syncing.length > batchesAhead) await this.#syncing.shift();
  }

  /** Waits until everything that was written is durable, names included. */
  async sync(): Promise<void> {
    this.#syncing.push(syncAll(this.#batch));
    await Promise.all(this.#syncing);
    await syncAll(this.#directories);
  }

  /** Lets go of what is open, and waits until nothing is being synced. */
  async close(): Promise<void> {
    this.#open?.close();
    this.#open = undefined;
    // Whoever had to know of an error has it from drain or sync.
    await Promise.allSettled(this.#syncing);
  }

  #wrote(path: string, sizeBytes: number): void {
    this.#batch.add(path);
    this.#batchBytes += sizeBytes;
  }

  #end(path: string): void {
    this.#open?.close();
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

class FileSink implements MemberSink {
  #file: number | undefined;
  #positionBytes = 0;
  readonly #onWritten: (sizeBytes: number) => void;

  constructor(file: number, onWritten: (sizeBytes: number) => void) {
    this.#file = file;
    this.#onWritten = onWritten;
  }

  write(piece: Buffer): void {
    if (this.#file === undefined) throw new TypeError('the file is closed');
    for (let offset = 0; offset < piece.length;) {
      // Calls end at multiples of their size, whatever the pieces are: a page is filled by one call.
      const callBytes = Math.min(writeCallBytes - (this.#positionBytes % writeCallBytes), piece.length - offset);
      const written = writeSync(this.#file, piece, offset, callBytes);
      offset += written;
      this.#positionBytes += written;
    }
    this.#onWritten(piece.length);
  }

  end(): void {
    this.close();
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
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
