/** The body of an S3 object, which goes on by itself where a connection broke. */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { type ByteReader, ReadableBytes } from './byte-reader.ts';
import { cancelled } from './cancellation.ts';
import type { KeptChecksum } from './s3-kept-checksum.ts';

/** How often one body may be taken up again. Bounded, because a store that breaks every connection has a trouble that the caller must hear of. */
const resumeMaximumCount = 8;
/** Pause before the first resume without progress; doubled each time, so that the last is 12.8 s. */
const resumePauseMs = 100;

/** What a body needs to know. */
export interface S3BodyOptions {
  readonly url: string;
  /** The bytes that must come: the range's length, or the object's. */
  readonly expectedBytes: number;
  /** Longest time without a byte while somebody wants to read. */
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** What the store keeps of the bytes. Default: they are not checked here. */
  readonly checksum?: KeptChecksum | undefined;
  /** Opens the rest, without its first `receivedBytes`. Absent when the store gave no ETag to hold on to. */
  readonly reopen: ((receivedBytes: number, signal: AbortSignal) => Promise<ByteReader>) | undefined;
}

/**
 * Reads a response body. Errors: STORAGE_UNREACHABLE when it stalls or breaks too often, or ends with too few bytes; OBJECT_DAMAGED when the
 * bytes do not have the checksum that the store keeps of them; CANCELLED.
 * Destroying it frees the socket.
 */
export class S3Body extends ReadableBytes {
  readonly #options: S3BodyOptions;
  readonly #stop = new AbortController();
  #source: ByteReader;
  #receivedBytes = 0;
  #resumeCount = 0;
  #pausesWithoutProgressCount = 0;

  constructor(source: ByteReader, options: S3BodyOptions) {
    super();
    this.#options = options;
    this.#source = source;
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#onAbort();
  }

  override async readInto(target: Uint8Array, onBytes?: () => void): Promise<number> {
    for (let filledBytes = 0; ;) {
      if (this.destroyed) throw this.errored ?? new Error('the body is not read any more');
      // Nothing is missing: whatever becomes of the connection now, it is the end.
      if (this.#receivedBytes === this.#options.expectedBytes) return filledBytes;
      try {
        const place = target.subarray(filledBytes);
        const sizeBytes = await this.#readInTime(place, onBytes);
        this.#take(place.subarray(0, sizeBytes));
        filledBytes += sizeBytes;
        if (sizeBytes === 0 || filledBytes === target.length) return filledBytes;
      } catch (error) {
        if (this.destroyed || error instanceof WalkbackError) throw this.errored ?? error;
        await this.#takeUpAgain(error);
      }
    }
  }

  override bytesLeftMaximum(): number {
    return this.#options.expectedBytes - this.#receivedBytes;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#stop.abort();
    this.#source.destroy();
    callback(error);
  }

  readonly #onAbort = (): void => {
    if (this.#options.signal !== undefined) this.destroy(cancelled('Reading', this.#options.url, this.#options.signal));
  };

  /** Only while somebody wants bytes can they be late: while the reader is busy, nothing stalls. */
  async #readInTime(target: Uint8Array, onBytes: (() => void) | undefined): Promise<number> {
    const { stallTimeoutMs } = this.#options;
    const source = this.#source;
    const timer = setTimeout(() => source.destroy(new Error(`no byte came for ${stallTimeoutMs} ms`)), stallTimeoutMs);
    try {
      return await source.readInto(target, () => {
        timer.refresh();
        onBytes?.();
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Nothing for the end. */
  #take(bytes: Uint8Array): void {
    const { url, expectedBytes, checksum } = this.#options;
    this.#receivedBytes += bytes.length;
    if (bytes.length > 0) this.#pausesWithoutProgressCount = 0;
    if (this.#receivedBytes > expectedBytes) throw this.#failed(`the store sent more than the ${expectedBytes} bytes it announced`);
    checksum?.update(bytes);
    if (this.#receivedBytes === expectedBytes && bytes.length > 0) {
      const mismatch = checksum?.mismatch();
      if (mismatch !== undefined) throw damaged(url, mismatch);
    }
    if (bytes.length === 0 && this.#receivedBytes < expectedBytes) throw new Error('the body ended early');
  }

  async #takeUpAgain(brokenBy: unknown): Promise<void> {
    const { reopen } = this.#options;
    this.#source.destroy();
    for (let reason = brokenBy; ;) {
      this.#resumeCount += 1;
      if (reopen === undefined || this.#resumeCount > resumeMaximumCount)
        throw this.#failed(`${messageOf(reason)}, and it was taken up again ${this.#resumeCount - 1} times`, reason);
      try {
        await sleep(resumePauseMs * 2 ** this.#pausesWithoutProgressCount++, undefined, { signal: this.#stop.signal });
        this.#source = await reopen(this.#receivedBytes, this.#stop.signal);
        if (this.destroyed) this.#source.destroy();
        return;
      } catch (error) {
        if (this.destroyed) throw this.errored ?? error;
        if (!(error instanceof WalkbackError) || !error.retryable) throw error;
        reason = error;
      }
    }
  }

  #failed(reason: string, cause?: unknown): WalkbackError {
    const { url, expectedBytes } = this.#options;
    return new WalkbackError(
      'STORAGE_UNREACHABLE',
      `Reading ${url} failed after ${this.#receivedBytes} of ${expectedBytes} bytes: ${reason}.`,
      {
        facts: { url, receivedBytes: this.#receivedBytes, expectedBytes },
        cause,
      },
    );
  }
}

function damaged(url: string, mismatch: string): WalkbackError {
  return new WalkbackError('OBJECT_DAMAGED', `${url} is damaged, at rest or on the way: ${mismatch}.`, { facts: { url } });
}
