/** The threads that extract tars, and what feeds them. Fetching stays here, where the store and its connections are. */
import { createHash, type Hash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import type { ByteReader } from '../../storage/byte-reader.ts';
import { damaged, wrongSha256 } from '../documents/stored-document.ts';
import { threadHeapLimits } from '../thread-heap-limits.ts';
import {
  chunkBytes,
  type ExtractionFailure,
  type ExtractionJob,
  type ExtractionNews,
  type ExtractionSetting,
  type FromExtraction,
  maximumChunksAhead,
  slotOf,
  type ToExtraction,
} from './extraction-job.ts';

/** The bytes of one object, and who is told of them. */
export interface StoredBytes {
  readonly body: ByteReader;
  /** What is said to come: threads get equal shares by it. */
  readonly sizeBytes: number;
  readonly onBytes: (sizeBytes: number) => void;
}

/** Extracting takes a processor each: there are as many threads, and each works on several tars at a time where more connections than that fetch. */
const defaultThreads = Math.max(2, Math.min(availableParallelism(), 8));
/** Starting a thread takes a quarter of a second, as much as extracting a hundred MiB: those of a fetch that went well wait so long for the next one. */
const idleMs = 60_000;
/** Threads without keys that wait for a fetch. */
const idleThreads: ExtractionThread[] = [];

/** The threads of one fetch: idle ones, and for the rest new ones that start at once. Some may go on to the next when this is disposed of. */
export class ExtractionThreads implements AsyncDisposable {
  readonly #threads: readonly ExtractionThread[];

  constructor(setting: ExtractionSetting, threadCount: number = defaultThreads) {
    const take = (): ExtractionThread | undefined => (setting.cipher === undefined ? idleThreads.pop()?.resumed() : undefined);
    this.#threads = Array.from({ length: threadCount }, () => take() ?? new ExtractionThread(setting));
  }

  /**
   * Extracts one tar.
   * @returns how many of the files that the backup has to bring it held
   * @throws WalkbackError OBJECT_DAMAGED naming the key, NOT_ENOUGH_DISK; what reading the body throws; system errors of local files
   */
  async extract(job: ExtractionJob, stored: StoredBytes): Promise<number> {
    const [leastBusy] = this.#threads.toSorted((one, other) => one.bytesInWork - other.bytesInWork);
    if (leastBusy === undefined) throw new WalkbackError('INTERNAL', 'There is no thread to extract in.');
    return await leastBusy.extract(job, stored);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(async (thread) => this.#letGo(thread)));
  }

  /** Only threads with nothing in work are used again: one that writes to a directory must have ended when the fetch has. */
  async #letGo(thread: ExtractionThread): Promise<void> {
    if (!thread.isReusable || idleThreads.length >= defaultThreads) await thread.stop();
    else keep(thread);
  }
}

/**
 * Starts the threads that the next fetch without keys takes, unless they are there: they load while something else is waited for. When no fetch comes they
 * end by themselves.
 */
export function readyExtractionThreads(): void {
  while (idleThreads.length < defaultThreads) keep(new ExtractionThread({ cipher: undefined }));
}

/** For the next fetch. */
function keep(thread: ExtractionThread): void {
  idleThreads.push(thread);
  thread.idle(idleMs, () => {
    idleThreads.splice(idleThreads.indexOf(thread), 1);
  });
}

/** Sources in TypeScript, and JavaScript where the package is installed. */
const threadFile = new URL(`./extraction-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

class ExtractionThread {
  readonly #worker: Worker;
  readonly #hasKeys: boolean;
  /** Who hears of each tar in work. */
  readonly #listeners = new Map<number, (news: ExtractionNews) => void>();
  /** Memory of tars that are done, for the next ones. */
  readonly #freeSlots: SharedArrayBuffer[] = [];
  #lastTar = 0;
  #bytesInWork = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #death: ExtractionFailure | undefined;

  constructor(setting: ExtractionSetting) {
    this.#hasKeys = setting.cipher !== undefined;
    // Where keys are used, the code of OpenPGP takes more.
    this.#worker = new Worker(threadFile, { workerData: setting, ...(this.#hasKeys ? {} : { resourceLimits: threadHeapLimits }) });
    this.#worker.on('message', ({ tar, message }: FromExtraction) => this.#listeners.get(tar)?.(message));
    this.#worker.on('error', (error) => this.#die(messageOf(error)));
    this.#worker.on('exit', () => this.#die('it ended'));
  }

  /** Of the tars that were given to it and are not done. */
  get bytesInWork(): number {
    return this.#bytesInWork;
  }

  get isReusable(): boolean {
    return !this.#hasKeys && this.#death === undefined && this.#listeners.size === 0;
  }

  /** Waits for more work without keeping the process alive, and ends after a while. */
  idle(forMs: number, onEnd: () => void): void {
    this.#worker.unref();
    this.#idleTimer = setTimeout(() => {
      onEnd();
      void this.stop();
    }, forMs).unref();
  }

  /** @returns undefined when it has ended meanwhile */
  resumed(): this | undefined {
    clearTimeout(this.#idleTimer);
    if (this.#death !== undefined) return undefined;
    this.#worker.ref();
    return this;
  }

  async extract(job: ExtractionJob, { body, sizeBytes, onBytes }: StoredBytes): Promise<number> {
    this.#lastTar += 1;
    this.#bytesInWork += sizeBytes;
    const tar = this.#lastTar;
    const slots = this.#freeSlots.pop() ?? new SharedArrayBuffer(maximumChunksAhead * chunkBytes);
    const outcome = Promise.withResolvers<ExtractionNews>();
    const send = (message: ToExtraction['message']): void => this.#worker.postMessage({ tar, message } satisfies ToExtraction, []);
    const hash = job.proveIn === undefined && job.expectedSha256 !== undefined ? createHash('sha256') : undefined;
    const feeding = new Feeding({ slots, hash, send });
    this.#listeners.set(tar, (news) => {
      if (news.kind === 'taken') feeding.onTaken();
      else {
        feeding.onOutcome();
        outcome.resolve(news);
      }
    });
    try {
      if (this.#death !== undefined) throw errorOf(this.#death, job);
      send({ kind: 'start', job, slots });
      const fed = await feeding.run(body, onBytes);
      const news = await outcome.promise;
      this.#freeSlots.push(slots);
      if (fed !== undefined) throw fed.error;
      if (news.kind === 'failed') throw errorOf(news.failure, job);
      const sha256 = hash?.digest('hex');
      if (sha256 !== undefined && sha256 !== job.expectedSha256) throw wrongSha256(job.key, { sha256, expected: job.expectedSha256 });
      return news.kind === 'done' ? news.arrivedCount : 0;
    } finally {
      this.#bytesInWork -= sizeBytes;
      this.#listeners.delete(tar);
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #die(reason: string): void {
    const { code, hint, facts, message } = new WalkbackError('INTERNAL', `A thread that extracts ended: ${reason}`);
    this.#death ??= { kind: 'walkback', code, hint, facts, message };
    for (const listener of this.#listeners.values()) listener({ kind: 'failed', failure: this.#death });
  }
}

/** How a body is handed over. */
interface FeedingOptions {
  readonly slots: SharedArrayBuffer;
  /** Takes what is handed over: beside the thread that decompresses it, which for a relation of a gigabyte is the one that everything waits for. */
  readonly hash: Hash | undefined;
  readonly send: (message: ToExtraction['message']) => void;
}

/** Hands a body over in large chunks, never more than a few ahead. */
class Feeding {
  readonly #slots: SharedArrayBuffer;
  readonly #hash: Hash | undefined;
  readonly #send: (message: ToExtraction['message']) => void;
  #sentChunks = 0;
  #chunksAhead = 0;
  #hasOutcome = false;
  #wake: () => void = () => undefined;

  constructor({ slots, hash, send }: FeedingOptions) {
    this.#slots = slots;
    this.#hash = hash;
    this.#send = send;
  }

  onTaken(): void {
    this.#chunksAhead -= 1;
    this.#wake();
  }

  onOutcome(): void {
    this.#hasOutcome = true;
    this.#wake();
  }

  /** @returns the error of the body, when there is one */
  async run(body: ByteReader, onBytes: (sizeBytes: number) => void): Promise<{ readonly error: unknown } | undefined> {
    try {
      while (!this.#hasOutcome) {
        const slot = await this.#nextSlot();
        const sizeBytes = await body.readInto(slot);
        if (sizeBytes === 0) break;
        onBytes(sizeBytes);
        this.#announce(sizeBytes);
        this.#hash?.update(slot.subarray(0, sizeBytes));
      }
      this.#send({ kind: 'end' });
      return undefined;
    } catch (error) {
      this.#send({ kind: 'stop' });
      return { error };
    }
  }

  #announce(sizeBytes: number): void {
    this.#chunksAhead += 1;
    this.#sentChunks += 1;
    this.#send({ kind: 'chunk', sizeBytes });
  }

  /** Waits until the thread is done with what was in it. */
  async #nextSlot(): Promise<Buffer> {
    while (this.#chunksAhead >= maximumChunksAhead && !this.#hasOutcome) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    return slotOf(this.#slots, this.#sentChunks);
  }
}

/** What went wrong: the local disk, or else the bytes. */
function errorOf(failure: ExtractionFailure, job: ExtractionJob): Error {
  if (failure.kind === 'content') return damaged(job.key, failure.message);
  const { code, message } = failure;
  if (failure.kind === 'walkback') return new WalkbackError(failure.code, message, { hint: failure.hint, facts: failure.facts });
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new WalkbackError('NOT_ENOUGH_DISK', `${job.placement.into} has no room left: ${message}`, {
      facts: { directory: job.placement.into },
    });
  const { syscall, path } = failure;
  return Object.assign(new Error(message), { code, syscall, path });
}
