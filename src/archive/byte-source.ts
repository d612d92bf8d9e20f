/** Bytes that arrive in chunks, taken in the sizes that a parser wants, without copying where a chunk holds them whole. */

import { copyBytes } from '../storage/copy-bytes.ts';

export class ByteSource {
  readonly #iterator: AsyncIterator<Buffer> | Iterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Buffer> | Iterable<Buffer>) {
    this.#iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** The next bytes that are at hand, at most maximumBytes; undefined at the end. */
  async piece(maximumBytes: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next();
      if (next.done === true) return undefined;
      this.#chunk = next.value;
    }
    const piece = this.#chunk.subarray(0, maximumBytes);
    this.#chunk = this.#chunk.subarray(piece.length);
    return piece;
  }

  /** Exactly so many bytes; undefined at the end. @throws SyntaxError when the end comes within them */
  async take(sizeBytes: number): Promise<Buffer | undefined> {
    const bytes = await this.upTo(sizeBytes);
    if (bytes.length === sizeBytes) return bytes;
    if (bytes.length === 0) return undefined;
    throw new SyntaxError(`the data ends ${sizeBytes - bytes.length} bytes early`);
  }

  /** So many bytes, or all that are left when there are fewer. */
  async upTo(sizeBytes: number): Promise<Buffer> {
    const first = (await this.piece(sizeBytes)) ?? Buffer.alloc(0);
    if (first.length === sizeBytes) return first;
    const bytes = Buffer.allocUnsafe(sizeBytes);
    return bytes.subarray(0, await this.#copyInto(bytes, copyBytes(first, bytes, 0)));
  }

  /** Fills the buffer. @throws SyntaxError when the data ends before or within it */
  async fill(target: Buffer): Promise<void> {
    const filledBytes = await this.#copyInto(target, 0);
    if (filledBytes < target.length) throw new SyntaxError(`the data ends ${target.length - filledBytes} bytes early`);
  }

  /** All bytes that have not been taken, as they come. */
  async *rest(): AsyncGenerator<Buffer> {
    for (let piece = await this.piece(Infinity); piece !== undefined; piece = await this.piece(Infinity)) yield piece;
  }

  /** Exactly so many bytes. @throws SyntaxError when the data ends before or within them */
  async required(sizeBytes: number): Promise<Buffer> {
    const bytes = await this.take(sizeBytes);
    if (bytes === undefined && sizeBytes > 0) throw new SyntaxError(`the data ends ${sizeBytes} bytes early`);
    return bytes ?? Buffer.alloc(0);
  }

  /** Passes over bytes that may be missing at the very end. */
  async skipPadding(sizeBytes: number): Promise<void> {
    for (let leftBytes = sizeBytes; leftBytes > 0;) {
      const piece = await this.piece(leftBytes);
      if (piece === undefined) return;
      leftBytes -= piece.length;
    }
  }

  /** Lets go of what the chunks come from. */
  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  /** As much as there is and has room. @returns how far the buffer is filled */
  async #copyInto(target: Buffer, startBytes: number): Promise<number> {
    let filledBytes = startBytes;
    while (filledBytes < target.length) {
      const piece = await this.piece(target.length - filledBytes);
      if (piece === undefined) break;
      filledBytes += copyBytes(piece, target, filledBytes);
    }
    return filledBytes;
  }
}
