/** Reads files that a server is writing to. */
import { type FileHandle, open } from 'node:fs/promises';
import { isAbsent } from '../../files/system-error.ts';

/** Opens a file. @returns undefined when it has vanished */
export async function openSource(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Fills the buffer from the position on, with zeros where the file has ended. */
export async function fill(source: FileHandle, buffer: Buffer, positionBytes: number): Promise<void> {
  for (let filledBytes = 0; filledBytes < buffer.length;) {
    const { bytesRead } = await source.read(buffer, filledBytes, buffer.length - filledBytes, positionBytes + filledBytes);
    if (bytesRead === 0) {
      buffer.fill(0, filledBytes);
      return;
    }
    filledBytes += bytesRead;
  }
}
