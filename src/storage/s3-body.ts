/** The body of an S3 object, which goes on by itself where a connection broke. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { cancelled } from './cancellation.ts';

/** How often one body may be taken up again. Bounded, because a store that breaks every connection has a trouble that the caller must hear of. */
const resumeMaximumCount = 8;
/** Pause before the first resume without progress; doubled each time, so that the last is 12.8 s. */
const resumePauseMs = 100;

/** Chunks that wait for the reader; a socket brings at most 64 KiB at a time. */
const waitingChunksMaximum = 16;

/** What a body needs to know. */
export interface S3BodyOptions {
  readonly url: string;
  /** The bytes that must come: the range's length, or the object's. */
  readonly expectedBytes: number;
  /** Longest time without a byte while somebody wants to read. */
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Opens the rest, without its first `receivedBytes`. Absent when the store gave no ETag to hold on to. */
  readonly reopen: ((receivedBytes: number, signal: AbortSignal) => Promise<Readable>) | undefined;
}

/**
 * Reads a response body. Errors: STORAGE_UNREACHABLE when it stalls or breaks too often, or ends with too few bytes; OBJECT_DAMAGED when the
 * bytes do not have the checksum that the store keeps of them; CANCELLED.
 * Destroying it frees the socket.
 */
export class S3Body extends Readable {
  readonly #options: S3BodyOptions;
  readonly #stop = new AbortController();
  readonly #stallTimer: NodeJS.Timeout;
  #source: Readable | undefined;
  #receivedBytes = 0;
  #resumeCount = 0;
  #pausesWithoutProgressCount = 0;

  constructor(source: Readable, options: S3BodyOptions) {
    // By objects: chunks are given on one by one, as they came. A stream of bytes would join those that wait, into new memory.
    super({ objectMode: true, highWaterMark: waitingChunksMaximum });
    this.#options = options;
    this.#stallTimer = setTimeout(() => this.#onStall(), options.stallTimeoutMs);
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#attach(source);
    source.pause();
    if (options.signal?.aborted) this.#onAbort();
  }

  override _read(): void {
    // Only a reader that wants bytes can be kept waiting: while it is busy, nothing stalls.
    this.#stallTimer.refresh();
    this.#source?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    clearTimeout(this.#stallTimer);
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#stop.abort();
    this.#detach();
    callback(error);
  }

  readonly #onAbort = (): void => {
    if (this.#options.signal !== undefined) this.destroy(cancelled('Reading', this.#options.url, this.#options.signal));
  };

  #attach(source: Readable): void {
    this.#source = source;
    source.on('data', (chunk: Buffer) => this.#onData(chunk, source));
    source.once('end', () => this.#onEnd(source));
    source.once('error', (error) => this.#onBreak(source, error));
    source.once('close', () => this.#onBreak(source, new Error('the connection was closed')));
  }

  #detach(): void {
    const source = this.#source;
    this.#source = undefined;
    if (source === undefined) return;
    // A destroyed response still emits ECONNRESET, which must find a listener.
    source.on('error', () => undefined);
    source.destroy();
  }

  #onData(chunk: Buffer, source: Readable): void {
    if (source !== this.#source) return;
    this.#receivedBytes += chunk.length;
    this.#pausesWithoutProgressCount = 0;
    if (this.#receivedBytes > this.#options.expectedBytes) {
      this.#fail(`the store sent more than the ${this.#options.expectedBytes} bytes it announced`);
      return;
    }
    this.#stallTimer.refresh();
    if (!this.push(chunk)) source.pause();
  }

  #onEnd(source: Readable): void {
    if (source !== this.#source) return;
    if (this.#receivedBytes < this.#options.expectedBytes) {
      this.#onBreak(source, new Error('the body ended early'));
      return;
    }
    this.#source = undefined;
    clearTimeout(this.#stallTimer);
    this.push(null);
  }

  #onStall(): void {
    const source = this.#source;
    if (source === undefined) return;
    if (source.isPaused()) {
      this.#stallTimer.refresh();
      return;
    }
    this.#onBreak(source, new Error(`no byte came for ${this.#options.stallTimeoutMs} ms`));
  }

  #onBreak(source: Readable, error: Error): void {
    if (source !== this.#source || this.destroyed) return;
    this.#detach();
    // All bytes came and yet it failed: the SDK found another checksum. Reading the rest again could not help.
    if (this.#receivedBytes >= this.#options.expectedBytes) this.destroy(damaged(this.#options.url, error));
    else void this.#resume(error);
  }

  async #resume(brokenBy: Error): Promise<void> {
    const { reopen } = this.#options;
    this.#resumeCount++;
    if (reopen === undefined || this.#resumeCount > resumeMaximumCount) {
      this.#fail(`${messageOf(brokenBy)}, and it was taken up again ${this.#resumeCount - 1} times`, brokenBy);
      return;
    }
    try {
      await sleep(resumePauseMs * 2 ** this.#pausesWithoutProgressCount++, undefined, { signal: this.#stop.signal });
      const source = await reopen(this.#receivedBytes, this.#stop.signal);
      if (this.destroyed) source.destroy();
      else this.#attach(source);
      this.#stallTimer.refresh();
    } catch (error) {
      if (!this.destroyed) this.#onReopenError(error);
    }
  }

  #onReopenError(error: unknown): void {
    if (error instanceof WalkbackError && error.retryable) void this.#resume(error);
    else this.destroy(error instanceof Error ? error : new Error(messageOf(error)));
  }

  #fail(reason: string, cause?: Error): void {
    const { url, expectedBytes } = this.#options;
    this.destroy(
      new WalkbackError('STORAGE_UNREACHABLE', `Reading ${url} failed after ${this.#receivedBytes} of ${expectedBytes} bytes: ${reason}.`, {
        facts: { url, receivedBytes: this.#receivedBytes, expectedBytes },
        cause,
      }),
    );
  }
}

function damaged(url: string, cause: Error): WalkbackError {
  return new WalkbackError('OBJECT_DAMAGED', `${url} is damaged, at rest or on the way: ${messageOf(cause)}`, { facts: { url }, cause });
}
