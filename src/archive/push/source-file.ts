/**
 * Reads files that a server is writing to, by bare descriptors: the FileHandle of node:fs/promises takes more time than the small file that it reads, and
 * a database may have a million of them.
 */
import { closeSync, open, read } from 'node:fs';
import { isAbsent } from '../../files/system-error.ts';

/** A file that is open for reading until it is disposed of. */
export class SourceFile implements Disposable {
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** @returns undefined when the file has vanished */
  static async open(path: string): Promise<SourceFile | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    open(path, 'r', (error, descriptor) => (error === null ? resolve(descriptor) : reject(error)));
    try {
      return new SourceFile(await promise);
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** Fills the buffer from the position on, with zeros where the file has ended. */
  async fill(buffer: Buffer, positionBytes: number): Promise<void> {
    for (let filledBytes = 0; filledBytes < buffer.length;) {
      const readBytes = await this.#read(filledBytes === 0 ? buffer : buffer.subarray(filledBytes), positionBytes + filledBytes);
      if (readBytes === 0) {
        buffer.fill(0, filledBytes);
        return;
      }
      filledBytes += readBytes;
    }
  }

  /** At once: nothing was written that would have to be waited for. */
  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }

  async #read(room: Buffer, positionBytes: number): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    read(this.#descriptor, room, 0, room.length, positionBytes, (error, readBytes) =>
      error === null ? resolve(readBytes) : reject(error),
    );
    return await promise;
  }
}
