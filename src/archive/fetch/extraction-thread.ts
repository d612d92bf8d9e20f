/** The thread that extracts: takes the bytes of tars in chunks, several tars at a time, and tells how it went with each. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { systemCodeOf } from '../../files/system-error.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import type {
  ExtractionFailure,
  ExtractionJob,
  ExtractionNews,
  ExtractionSetting,
  FromExtraction,
  ToExtraction,
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

/** Chunks as they come in messages; the sender waits for `taken` before it sends more than a few. */
class IncomingChunks implements AsyncIterable<Buffer> {
  readonly #waiting: ArrayBuffer[] = [];
  readonly #onTaken: () => void;
  #end: 'end' | 'stop' | undefined;
  #wake: () => void = () => undefined;

  constructor(onTaken: () => void) {
    this.#onTaken = onTaken;
  }

  take(message: Exclude<ToExtraction['message'], { readonly kind: 'start' }>): void {
    if (message.kind === 'chunk') this.#waiting.push(message.bytes);
    else this.#end = message.kind;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const bytes = this.#waiting.shift();
      if (this.#end === 'stop') throw new Error('the rest of the object does not come');
      if (bytes === undefined && this.#end === 'end') return;
      if (bytes === undefined) await this.#next();
      else {
        yield Buffer.from(bytes);
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
  if (message.kind === 'start') void run(tar, message.job);
  else incoming.get(tar)?.take(message);
});

async function run(tar: number, job: ExtractionJob): Promise<void> {
  const tell = (message: ExtractionNews): void => port?.postMessage({ tar, message } satisfies FromExtraction);
  const chunks = new IncomingChunks(() => tell({ kind: 'taken' }));
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
