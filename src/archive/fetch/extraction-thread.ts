/** The thread that extracts: takes the bytes of tars in chunks, several tars at a time, and tells how it went with each. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { systemCodeOf } from '../../files/system-error.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import {
  type ExtractionFailure,
  type ExtractionJob,
  type ExtractionNews,
  type ExtractionSetting,
  type FromExtraction,
  slotOf,
  type ToExtraction,
} from './extraction-job.ts';
import { extractTar } from './tar-extraction.ts';

const port = parentPort;
if (port === null) throw new Error('this file is started as a thread');
const { cipher: settings } = workerData as ExtractionSetting;
const cipher = settings === undefined ? undefined : openCipher(settings);

/** Only where objects are encrypted: it takes time to load. */
async function openCipher(given: NonNullable<ExtractionSetting['cipher']>): Promise<ObjectCipher | undefined> {
  const { openObjectCipher } = await import('../encryption.ts');
  return await openObjectCipher(given);
}

/** Chunks as they are announced; the sender waits for `taken` before it fills a slot again. */
class IncomingChunks implements AsyncIterable<Buffer> {
  readonly #slots: SharedArrayBuffer;
  readonly #waitingBytes: number[] = [];
  readonly #onTaken: () => void;
  #takenChunks = 0;
  #end: 'end' | 'stop' | undefined;
  #wake: () => void = () => undefined;

  constructor(slots: SharedArrayBuffer, onTaken: () => void) {
    this.#slots = slots;
    this.#onTaken = onTaken;
  }

  take(message: Exclude<ToExtraction['message'], { readonly kind: 'start' }>): void {
    if (message.kind === 'chunk') this.#waitingBytes.push(message.sizeBytes);
    else this.#end = message.kind;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const sizeBytes = this.#waitingBytes.shift();
      if (this.#end === 'stop') throw new Error('the rest of the object does not come');
      if (sizeBytes === undefined && this.#end === 'end') return;
      if (sizeBytes === undefined) await this.#next();
      else {
        yield slotOf(this.#slots, this.#takenChunks).subarray(0, sizeBytes);
        this.#takenChunks += 1;
        this.#onTaken();
      }
    }
  }

  async #next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

/** The tars in work, by number. */
const incoming = new Map<number, IncomingChunks>();

port.on('message', ({ tar, message }: ToExtraction) => {
  if (message.kind === 'start') void run(tar, message);
  else incoming.get(tar)?.take(message);
});

async function run(tar: number, { job, slots }: { readonly job: ExtractionJob; readonly slots: SharedArrayBuffer }): Promise<void> {
  const tell = (message: ExtractionNews): void => port?.postMessage({ tar, message } satisfies FromExtraction);
  const chunks = new IncomingChunks(slots, () => tell({ kind: 'taken' }));
  incoming.set(tar, chunks);
  try {
    tell({ kind: 'done', arrivedCount: await extractTar(job, chunks, await cipher) });
  } catch (error) {
    tell({ kind: 'failed', failure: failureOf(error) });
  } finally {
    incoming.delete(tar);
  }
}

function failureOf(error: unknown): ExtractionFailure {
  if (error instanceof WalkbackError) {
    const { code, message, hint, facts } = error;
    return { kind: 'walkback', code, message, hint, facts };
  }
  const message = messageOf(error);
  if (!(error instanceof Error) || !('syscall' in error)) return { kind: 'content', message };
  const path = 'path' in error && typeof error.path === 'string' ? error.path : undefined;
  return { kind: 'system', code: systemCodeOf(error) ?? 'EIO', message, syscall: String(error.syscall), path };
}
