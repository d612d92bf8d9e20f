/**
 * Threads that pack WAL segments for the store. A segment lies in memory whole, so that it is compressed in one step, which takes a quarter less time than a
 * stream of pieces, and the thread that serves PostgreSQL is free meanwhile.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { threadHeapLimits } from './thread-heap-limits.ts';

/** To a thread. The memory is not copied: it belongs to the thread until the answer comes. */
export interface PackingJob {
  readonly input: SharedArrayBuffer;
  readonly inputBytes: number;
  readonly output: SharedArrayBuffer;
}

/** What lies at the beginning of the output. */
export interface Packed {
  readonly sizeBytes: number;
  /** Of the packed bytes. */
  readonly sha256: string;
}

/** Packing takes a processor each; beyond four, a store is slower than they are. */
export const packingThreadsMaximum = Math.min(availableParallelism(), 4);
/** A thread that nobody needs so long ends. */
const idleMs = 60_000;
const threadFile = new URL(`./packing-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

const idleThreads: PackingThread[] = [];
/** Who waits for a thread, in turn; as many as push at a time. */
const waiting: ((thread: PackingThread) => void)[] = [];
let startedThreads = 0;

/**
 * Packs with zstd, one frame.
 * @returns undefined when the output has no room for the worst case, or this version of Node cannot do it in one step
 * @throws WalkbackError INTERNAL when the thread ended
 */
export async function packWhole(job: PackingJob): Promise<Packed | undefined> {
  const thread = await freeThread();
  try {
    return await thread.pack(job);
  } finally {
    letGo(thread);
  }
}

async function freeThread(): Promise<PackingThread> {
  const idle = idleThreads.pop();
  if (idle !== undefined) return idle;
  if (startedThreads < packingThreadsMaximum) {
    startedThreads += 1;
    return new PackingThread();
  }
  const { promise, resolve } = Promise.withResolvers<PackingThread>();
  waiting.push(resolve);
  return await promise;
}

function letGo(thread: PackingThread): void {
  const next = waiting.shift();
  if (thread.hasEnded) {
    startedThreads -= 1;
    if (next === undefined) return;
    startedThreads += 1;
    next(new PackingThread());
  } else if (next === undefined) {
    idleThreads.push(thread);
    thread.idle(() => {
      idleThreads.splice(idleThreads.indexOf(thread), 1);
      startedThreads -= 1;
    });
  } else next(thread);
}

class PackingThread {
  readonly #worker = new Worker(threadFile, { resourceLimits: threadHeapLimits });
  #outcome: PromiseWithResolvers<Packed | undefined> | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  constructor() {
    this.#worker.on('message', (packed: Packed | undefined) => this.#outcome?.resolve(packed));
    this.#worker.on('error', (error) => this.#end(messageOf(error)));
    this.#worker.on('exit', () => this.#end('it ended'));
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  async pack(job: PackingJob): Promise<Packed | undefined> {
    clearTimeout(this.#idleTimer);
    if (this.#hasEnded) throw threadEnded('it ended');
    this.#worker.ref();
    this.#outcome = Promise.withResolvers();
    this.#worker.postMessage(job, []);
    return await this.#outcome.promise;
  }

  /** Waits for the next job without keeping the process alive, and ends after a while. */
  idle(onEnd: () => void): void {
    this.#worker.unref();
    this.#idleTimer = setTimeout(() => {
      onEnd();
      void this.#worker.terminate();
    }, idleMs).unref();
  }

  #end(reason: string): void {
    this.#hasEnded = true;
    this.#outcome?.reject(threadEnded(reason));
  }
}

function threadEnded(reason: string): WalkbackError {
  return new WalkbackError('INTERNAL', `A thread that packs WAL ended: ${reason}`);
}
