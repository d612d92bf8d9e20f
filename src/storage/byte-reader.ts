/** Bytes that are read into memory of the reader's own: a body of gigabytes makes no garbage then. */
import { Readable } from 'node:stream';

/** Gives bytes into memory that the caller brings. One call at a time. */
export interface ByteReader {
  /**
   * Waits until the target is full, or the end or an error comes.
   * @param onBytes is told when bytes have come and more are waited for
   * @returns how many were put at the target's beginning, 0 when all have been read; what came before an error may be given first, and the next call throws
   */
  readInto(target: Uint8Array, onBytes?: () => void): Promise<number>;
  /** Gives up; a call that waits fails with the error. Whatever holds the bytes is let go of. */
  destroy(error?: Error): void;
}

/** What one piece of the stream takes: what a socket or a pipe brings at a time by default. */
const pieceMaximumBytes = 64 * 1024;

/** A stream whose bytes can be had by `readInto` as well. One of the two for each body: the stream starts when it is first read. */
export abstract class ReadableBytes extends Readable implements ByteReader {
  constructor() {
    super();
    // Whoever reads hears of an error by the call that reads, and of one that comes between two calls by the next.
    this.on('error', () => undefined);
  }

  abstract readInto(target: Uint8Array, onBytes?: () => void): Promise<number>;

  /** How many bytes may be left at most, so that a small body takes little memory. */
  protected bytesLeftMaximum(): number {
    return pieceMaximumBytes;
  }

  override _read(): void {
    // At least one: the end has to be read too.
    const room = Buffer.allocUnsafe(Math.max(1, Math.min(pieceMaximumBytes, this.bytesLeftMaximum())));
    this.readInto(room).then(
      (sizeBytes) => this.push(sizeBytes === 0 ? null : room.subarray(0, sizeBytes)),
      (error: Error) => this.destroy(error),
    );
  }
}

/** Reads any body: without copies in between where it can. */
export function readerOf(body: Readable): ByteReader {
  return body instanceof ReadableBytes ? body : new StreamReader(body);
}

/**
 * Reads to the end, into one buffer, and lets go of what was read.
 * @param sizeBytes what is said to come; more or less is read all the same
 * @throws RangeError when more than maximumBytes come; what the reader throws
 */
export async function readAll(reader: ByteReader, sizes: { readonly sizeBytes: number; readonly maximumBytes: number }): Promise<Buffer> {
  const { maximumBytes } = sizes;
  // One byte more, so that the end is seen without another buffer.
  let bytes = Buffer.allocUnsafeSlow(Math.min(sizes.sizeBytes, maximumBytes) + 1);
  try {
    for (let readBytes = 0; ;) {
      if (readBytes > maximumBytes) throw new RangeError(`it is larger than ${maximumBytes} bytes`);
      if (readBytes === bytes.length) bytes = Buffer.concat([bytes], Math.min(2 * bytes.length, maximumBytes + 1));
      const sizeBytes = await reader.readInto(bytes.subarray(readBytes));
      if (sizeBytes === 0) return bytes.subarray(0, readBytes);
      readBytes += sizeBytes;
    }
  } finally {
    reader.destroy();
  }
}

/** Copies the pieces of a stream. */
class StreamReader implements ByteReader {
  readonly #stream: Readable;
  readonly #pieces: AsyncIterator<Buffer>;
  #left: Buffer = Buffer.alloc(0);
  #failure: { readonly error: unknown } | undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    // A destroyed response still emits ECONNRESET, which must find a listener.
    stream.on('error', () => undefined);
    this.#pieces = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  async readInto(target: Uint8Array, onBytes?: () => void): Promise<number> {
    for (let filledBytes = 0; ;) {
      const sizeBytes = this.#left.copy(target, filledBytes);
      this.#left = this.#left.subarray(sizeBytes);
      filledBytes += sizeBytes;
      if (filledBytes === target.length) return filledBytes;
      if (filledBytes > 0) onBytes?.();
      const next = await this.#next(filledBytes > 0);
      if (next === undefined) return filledBytes;
      this.#left = next;
    }
  }

  /** @returns undefined at the end, and for an error that can wait until the bytes before it are taken */
  async #next(canWait: boolean): Promise<Buffer | undefined> {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      const next = await this.#pieces.next();
      return next.done === true ? undefined : next.value;
    } catch (error) {
      this.#failure = { error };
      if (!canWait) throw error;
      return undefined;
    }
  }

  destroy(error?: Error): void {
    this.#stream.destroy(error);
  }
}
