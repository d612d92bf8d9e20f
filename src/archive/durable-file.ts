/** Files that are there whole, or not at all, also after a power failure: bytes, fsync, rename, fsync of the directory. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes a file for its owner only; an existing one is replaced in one step. */
export async function writeFileDurably(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await using file = await open(temporary, 'wx', 0o600);
    await writeFully(file, bytes, 0);
    await file.sync();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Writes all bytes at the position. */
export async function writeFully(file: FileHandle, bytes: Uint8Array, positionBytes: number): Promise<void> {
  for (let writtenBytes = 0; writtenBytes < bytes.length;) {
    writtenBytes += (await file.write(bytes, writtenBytes, bytes.length - writtenBytes, positionBytes + writtenBytes)).bytesWritten;
  }
}

/** Makes the names in a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

/** Is it the system's answer that a file is not there? */
export function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
