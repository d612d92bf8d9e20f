/** Writes the files of a base backup into a new data directory, durably. */
import { chmod, type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../files/durable-file.ts';
import type { TarMember } from '../tar-reader.ts';
import { TaskPool } from './task-pool.ts';

/**
 * Bytes of one write call. Larger calls leave large folios in the page cache, and replay of WAL over them is 60 % slower (measured on ext4, Linux 6.18).
 */
const writeCallBytes = 64 * 1024;
/** Files up to this size are collected in memory and written beside the next ones. */
const smallFileBytes = 64 * 1024;
/** Small files being written at a time. */
const smallFileConcurrency = 16;
/** Files being fsynced at a time. */
const syncConcurrency = 8;
/** PostgreSQL accepts a data directory of mode 0700 or 0750 (manual, "Creating a Database Cluster"): nobody outside the group gets in. */
const modeMask = 0o750;
const groupBits = 0o070;

/** Files are written by several members at a time; sync() makes all of them durable. */
export class RestoredTree {
  readonly #writes = new TaskPool(smallFileConcurrency);
  readonly #syncs = new TaskPool(syncConcurrency);
  readonly #directories = new Set<string>();

  /** Makes a directory with the member's mode. */
  async directory(path: string, mode: number): Promise<void> {
    await this.#ensureDirectory(path);
    await chmod(path, (mode & modeMask) | 0o700);
  }

  /** Writes a file; its body is read before this resolves. */
  async file(path: string, member: TarMember): Promise<void> {
    await this.#ensureDirectory(dirname(path));
    if (member.sizeBytes <= smallFileBytes) {
      const content = await wholeBody(member);
      await this.#writes.start(async () => this.#write(path, member.mode, [content]));
    } else await this.#write(path, member.mode, member.body);
  }

  /** Waits until everything that was written is durable, names included. @throws the first error of a write */
  async sync(): Promise<void> {
    await this.#writes.finish();
    await this.#syncs.finish();
    for (const directory of this.#directories) await syncDirectory(directory);
  }

  /** Waits until nothing is being written any more. */
  async settle(): Promise<void> {
    await this.#writes.settle();
    await this.#syncs.settle();
  }

  async #write(path: string, mode: number, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
    const file = await open(path, 'w', (mode & modeMask) | 0o600);
    try {
      // The umask may have taken the group's bits away.
      if ((mode & modeMask & groupBits) !== 0) await file.chmod((mode & modeMask) | 0o600);
      await writePieces(file, pieces);
      await this.#syncs.start(async () => syncAndClose(file));
    } catch (error) {
      // The task that would close the file was not started.
      await file.close();
      throw error;
    }
  }

  /** A part may hold files whose directory is a member of another. */
  async #ensureDirectory(path: string): Promise<void> {
    if (this.#directories.has(path)) return;
    await mkdir(path, { recursive: true, mode: 0o700 });
    this.#directories.add(path);
    this.#directories.add(dirname(path));
  }
}

async function wholeBody(member: TarMember): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of member.body) pieces.push(piece);
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces, member.sizeBytes);
}

async function writePieces(file: FileHandle, pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<void> {
  let positionBytes = 0;
  for await (const piece of pieces) {
    for (let offset = 0; offset < piece.length; offset += writeCallBytes) {
      await writeFully(file, piece.subarray(offset, offset + writeCallBytes), positionBytes + offset);
    }
    positionBytes += piece.length;
  }
}

async function syncAndClose(file: FileHandle): Promise<void> {
  await using closing = file;
  await closing.sync();
}

/** Writes all bytes at the position. */
async function writeFully(file: FileHandle, bytes: Uint8Array, positionBytes: number): Promise<void> {
  for (let writtenBytes = 0; writtenBytes < bytes.length;) {
    writtenBytes += (await file.write(bytes, writtenBytes, bytes.length - writtenBytes, positionBytes + writtenBytes)).bytesWritten;
  }
}
