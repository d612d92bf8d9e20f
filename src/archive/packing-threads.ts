/**
 * Threads that pack for the store, each input as one frame of zstd: WAL segments, and base backups piece by piece. An input lies in memory whole, so that it
 * is compressed in one step, which takes a quarter less time than a stream, and the thread that serves PostgreSQL is free meanwhile.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { threadHeapLimits } from './thread-heap-limits.ts';

/** What to pack, and where to. The memory is not copied: it belongs to the thread until the answer comes. */
export interface PackingMemory {
  readonly input: SharedArrayBuffer;
  readonly inputOffsetBytes: number;
  readonly inputBytes: number;
  /** With room for the worst case (wholeMaximumBytes). */
  readonly output: SharedArrayBuffer;
}

/** To a thread. */
export interface PackingJob extends PackingMemory {
  readonly isHashed: boolean;
}

/** What lies at the beginning of the output. */
export interface Packed {
  readonly sizeBytes: number;
  /** Of the packed bytes, when it was asked for. */
  readonly sha256: string | undefined;
}

/** Packing takes a processor each; beyond four, a store is slower than they are. */
export const packingThreadsMaximum = Math.min(availableParallelism(), 4);
/** One that it works on, and one that it goes on with at once. */
const jobsPerThread = 2;
/** A thread that nobody needs so long ends. */
const idleMs = 60_000;
const threadFile = new URL(`./packing-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);

const threads: PackingThread[] = [];
/** Who waits for a thread: the most urgent first, and of those that are as urgent the one that came first. As many as push at a time. */
const waiting: Waiting[] = [];

interface Waiting {
  readonly urgency: number;
  readonly resolve: (thread: PackingThread) => void;
}

/**
 * Packs with zstd, one frame.
 * @param urgency who waits with a higher number has a thread first
 * @returns how many bytes of the output it takes
 * @throws WalkbackError INTERNAL when the thread ended
 */
export async function packFrame(memory: PackingMemory, urgency: number): Promise<number> {
  const { sizeBytes } = await packed({ ...memory, isHashed: false }, urgency);
  return sizeBytes;
}

/** As packFrame, with the SHA-256 of the frame, and before anything that is less than infinitely urgent. */
export async function packHashedFrame(memory: PackingMemory): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const { sizeBytes, sha256 } = await packed({ ...memory, isHashed: true }, Infinity);
  if (sha256 === undefined) throw new WalkbackError('INTERNAL', 'A thread that packs made no SHA-256.');
  return { sizeBytes, sha256 };
}

async function packed(job: PackingJob, urgency: number): Promise<Packed> {
  const thread = threadWithRoom() ?? (await nextThread(urgency));
  try {
    return await thread.pack(job);
  } finally {
    letGo(thread);
  }
}

/** The one with the least to do; a new one before any has to queue. It is taken with this call. */
function threadWithRoom(): PackingThread | undefined {
  const [leastBusy] = threads.toSorted((one, other) => one.jobCount - other.jobCount);
  if (leastBusy?.jobCount === 0 || threads.length >= packingThreadsMaximum)
    return leastBusy !== undefined && leastBusy.jobCount < jobsPerThread ? leastBusy.taken() : undefined;
  return started().taken();
}

/**
 * Starts the threads, unless they are there: they load while something else is waited for. When nothing comes to be packed they end by themselves.
 */
export function readyPackingThreads(): void {
  while (threads.length < packingThreadsMaximum) started().taken().letGo();
}

function started(): PackingThread {
  const thread = new PackingThread();
  threads.push(thread);
  return thread;
}

async function nextThread(urgency: number): Promise<PackingThread> {
  const { promise, resolve } = Promise.withResolvers<PackingThread>();
  const place = waiting.findIndex((other) => other.urgency < urgency);
  waiting.splice(place === -1 ? waiting.length : place, 0, { urgency, resolve });
  return await promise;
}

function letGo(thread: PackingThread): void {
  thread.letGo();
  if (waiting.length === 0) return;
  const next = threadWithRoom();
  if (next !== undefined) waiting.shift()?.resolve(next);
}

function forget(thread: PackingThread): void {
  const index = threads.indexOf(thread);
  if (index >= 0) threads.splice(index, 1);
}

class PackingThread {
  readonly #worker = new Worker(threadFile, { resourceLimits: threadHeapLimits });
  /** Of the jobs that were sent, in turn. */
  readonly #outcomes: PromiseWithResolvers<Packed>[] = [];
  #jobCount = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  constructor() {
    this.#worker.on('message', (packed: Packed) => this.#outcomes.shift()?.resolve(packed));
    this.#worker.on('error', (error) => this.#end(messageOf(error)));
    this.#worker.on('exit', () => this.#end('it ended'));
  }

  /** Jobs that were promised to it and are not done. */
  get jobCount(): number {
    return this.#jobCount;
  }

  /** Promises it a job. */
  taken(): this {
    this.#jobCount += 1;
    clearTimeout(this.#idleTimer);
    this.#worker.ref();
    return this;
  }

  async pack(job: PackingJob): Promise<Packed> {
    if (this.#hasEnded) throw threadEnded('it ended');
    const outcome = Promise.withResolvers<Packed>();
    this.#outcomes.push(outcome);
    this.#worker.postMessage(job, []);
    return await outcome.promise;
  }

  /** When it has no job left it waits for the next without keeping the process alive, and ends after a while. */
  letGo(): void {
    this.#jobCount -= 1;
    if (this.#jobCount > 0) return;
    this.#worker.unref();
    this.#idleTimer = setTimeout(() => {
      forget(this);
      void this.#worker.terminate();
    }, idleMs).unref();
  }

  #end(reason: string): void {
    this.#hasEnded = true;
    // Nobody is given a thread that is gone.
    forget(this);
    for (const outcome of this.#outcomes.splice(0)) outcome.reject(threadEnded(reason));
  }
}

function threadEnded(reason: string): WalkbackError {
  return new WalkbackError('INTERNAL', `A thread that packs ended: ${reason}`);
}
