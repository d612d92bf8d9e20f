/** The bytes of a file, or of a part of it. */
import type { FileHandle } from 'node:fs/promises';
import { callbackify } from 'node:util';
import { ReadableBytes } from './byte-reader.ts';

/** The file is closed when the stream was read to its end, and when it is destroyed. Errors: system errors of reading. */
export class FileBody extends ReadableBytes {
  readonly #file: FileHandle;
  readonly #endBytes: number;
  #positionBytes: number;

  /** @param range `endBytes` is exclusive, and not behind the file's end */
  constructor(file: FileHandle, range: { readonly startBytes: number; readonly endBytes: number }) {
    super();
    this.#file = file;
    this.#positionBytes = range.startBytes;
    this.#endBytes = range.endBytes;
  }

  override async readInto(target: Uint8Array): Promise<number> {
    const wantedBytes = Math.min(target.length, this.#endBytes - this.#positionBytes);
    if (wantedBytes === 0) return 0;
    if (this.destroyed) throw this.errored ?? new Error('the file is not read any more');
    const { bytesRead } = await this.#file.read(target, 0, wantedBytes, this.#positionBytes);
    if (bytesRead === 0) throw new Error(`the file ended ${this.#endBytes - this.#positionBytes} bytes early`);
    this.#positionBytes += bytesRead;
    return bytesRead;
  }

  override bytesLeftMaximum(): number {
    return this.#endBytes - this.#positionBytes;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    callbackify(async () => this.#file.close())((closeError) => callback(error ?? closeError));
  }
}
