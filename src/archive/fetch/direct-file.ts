/** A large file that is written past the page cache, and through it from where the disk turns out to be the slower one. */
import { closeSync, constants, fsync, ftruncateSync, openSync, write } from 'node:fs';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { systemCodeOf } from '../../files/system-error.ts';
import type { MemberSink } from '../tar-reader.ts';
import { CachedFile } from './cached-file.ts';
import type { DirectWrites } from './direct-writes.ts';

/** Positions and sizes are multiples of it: as large as a page of memory, and the blocks of no disk are larger. */
const alignmentBytes = 4096;
/** Flushed so often. A disk that puts its work off until then shows how fast it is, and the last flush is short. */
const flushedBytes = 16 * 1024 * 1024;
const writeSome = promisify(write);
const fsyncFile = promisify(fsync);

/** Opens a new file, or an old one to be written anew. @returns undefined where such writes are not to be had (open(2), EINVAL; macOS) */
export function openDirect(path: string, mode: number): number | undefined {
  const { O_CREAT, O_TRUNC, O_WRONLY } = constants;
  const { O_DIRECT }: Partial<typeof constants> = constants;
  if (O_DIRECT === undefined) return undefined;
  try {
    return openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, mode);
  } catch (error) {
    if (systemCodeOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/** What a file is told. */
export interface DirectFileOptions {
  readonly path: string;
  /** From openDirect; owned from now on. */
  readonly file: number;
  readonly sizeBytes: number;
  readonly writes: DirectWrites;
  /** Hears of what goes through the page cache. */
  readonly onCached: (sizeBytes: number) => void;
}

export class DirectFile implements MemberSink {
  readonly #options: DirectFileOptions;
  #current: Buffer | undefined;
  #usedBytes = 0;
  #positionBytes = 0;
  /** One write after the other: a file that grows at its end keeps its blocks together. */
  #writing: Promise<void> = Promise.resolve();
  #flushing: Promise<void> = Promise.resolve();
  #isFlushing = false;
  #unflushedBytes = 0;
  #rest: CachedFile | undefined;

  constructor(options: DirectFileOptions) {
    this.#options = options;
  }

  /** What is free of the buffer that is being filled. */
  target(): Buffer | undefined {
    return this.#buffer()?.subarray(this.#usedBytes);
  }

  write(piece: Buffer): void {
    for (let offset = 0; offset < piece.length;) {
      const buffer = this.#buffer();
      if (buffer === undefined) {
        this.#rest ??= this.#restThroughCache();
        this.#rest.write(piece.subarray(offset));
        return;
      }
      const isInPlace = piece.buffer === buffer.buffer && piece.byteOffset + offset === buffer.byteOffset + this.#usedBytes;
      const freeBytes = buffer.length - this.#usedBytes;
      const takenBytes = isInPlace ? Math.min(piece.length - offset, freeBytes) : piece.copy(buffer, this.#usedBytes, offset);
      offset += takenBytes;
      this.#usedBytes += takenBytes;
      if (this.#usedBytes === buffer.length) this.#writeOut(buffer);
    }
  }

  /** What is left goes on its way; `finished` knows when it is there. */
  end(): void {
    if (this.#current !== undefined) this.#writeOut(this.#current);
    this.#rest?.close();
  }

  /** Waits until everything is durable, and closes the file. @throws the error of a write or a sync */
  async finished(): Promise<void> {
    const { file, sizeBytes } = this.#options;
    try {
      await this.#writing;
      await this.#flushing;
      // The last write filled up its block.
      if (sizeBytes % alignmentBytes !== 0) ftruncateSync(file, sizeBytes);
      await fsyncFile(file);
    } finally {
      await this.#closeWhenQuiet();
    }
  }

  /** Closes it, wherever it stands. */
  async close(): Promise<void> {
    this.#rest?.close();
    await this.#closeWhenQuiet();
  }

  /** Not while a thread works with it: the next file that is opened could get its number. */
  async #closeWhenQuiet(): Promise<void> {
    await Promise.allSettled([this.#writing, this.#flushing]);
    closeSync(this.#options.file);
  }

  /** The one that is being filled, or the next; undefined when there is none, or the rest goes through the cache. */
  #buffer(): Buffer | undefined {
    this.#current ??= this.#rest === undefined ? this.#options.writes.take() : undefined;
    return this.#current;
  }

  #restThroughCache(): CachedFile {
    const { path, onCached } = this.#options;
    return new CachedFile(openSync(path, 'r+'), this.#positionBytes, onCached);
  }

  #writeOut(buffer: Buffer): void {
    const positionBytes = this.#positionBytes;
    const sizeBytes = Math.ceil(this.#usedBytes / alignmentBytes) * alignmentBytes;
    const bytes = buffer.fill(0, this.#usedBytes, sizeBytes).subarray(0, sizeBytes);
    this.#current = undefined;
    this.#usedBytes = 0;
    this.#positionBytes += sizeBytes;
    this.#writing = this.#writing.then(async () => this.#put(bytes, positionBytes));
    this.#options.writes.follow(this.#writing, buffer);
  }

  async #put(bytes: Buffer, positionBytes: number): Promise<void> {
    const { file, path, writes } = this.#options;
    try {
      await writeAll(file, bytes, positionBytes);
    } catch (error) {
      // Also the rest of a write of which the disk took an odd part.
      if (systemCodeOf(error) !== 'EINVAL') throw error;
      writes.giveUp();
      await using cached = await open(path, 'r+');
      await writeAll(cached.fd, bytes, positionBytes);
    }
    this.#flushBehind(bytes.length);
  }

  #flushBehind(sizeBytes: number): void {
    this.#unflushedBytes += sizeBytes;
    if (this.#unflushedBytes < flushedBytes || this.#isFlushing) return;
    this.#unflushedBytes = 0;
    this.#isFlushing = true;
    // Behind the one before, whose error a later fsync would not have again (fsync(2)).
    this.#flushing = this.#flushing
      .then(async () => fsyncFile(this.#options.file))
      .finally(() => {
        this.#isFlushing = false;
      });
    // `finished` has the error.
    this.#flushing.catch(() => undefined);
  }
}

async function writeAll(file: number, bytes: Buffer, positionBytes: number): Promise<void> {
  for (let doneBytes = 0; doneBytes < bytes.length;) {
    const { bytesWritten } = await writeSome(file, bytes, doneBytes, bytes.length - doneBytes, positionBytes + doneBytes);
    doneBytes += bytesWritten;
  }
}
