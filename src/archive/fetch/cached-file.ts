/** A file that is written through the page cache, synchronously: for threads that do nothing else. */
import { closeSync, writeSync } from 'node:fs';
import type { MemberSink } from '../tar-reader.ts';

/**
 * Bytes of one write call. Larger calls leave large folios in the page cache, and replay of WAL over them is 60 % slower (measured on ext4, Linux 6.18).
 */
const writeCallBytes = 64 * 1024;

/** Owns its file descriptor. */
export class CachedFile implements MemberSink {
  #file: number | undefined;
  #positionBytes: number;
  readonly #onWritten: (sizeBytes: number) => void;

  /** @param positionBytes where the content begins */
  constructor(file: number, positionBytes: number, onWritten: (sizeBytes: number) => void) {
    this.#file = file;
    this.#positionBytes = positionBytes;
    this.#onWritten = onWritten;
  }

  write(piece: Buffer): void {
    if (this.#file === undefined) throw new TypeError('the file is closed');
    for (let offset = 0; offset < piece.length;) {
      // Calls end at multiples of their size, whatever the pieces are: a page is filled by one call.
      const callBytes = Math.min(writeCallBytes - (this.#positionBytes % writeCallBytes), piece.length - offset);
      const written = writeSync(this.#file, piece, offset, callBytes, this.#positionBytes);
      offset += written;
      this.#positionBytes += written;
    }
    this.#onWritten(piece.length);
  }

  end(): void {
    this.close();
  }

  /** Closes it, wherever it stands. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
