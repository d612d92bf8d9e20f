/** One S3 bucket and how it is talked to: client, sockets, time limits, and names for error messages. */
import { S3Client } from '@aws-sdk/client-s3';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { WalkbackError } from '../domain/errors.ts';
import { HttpConnections } from './http/connections.ts';
import { cancelled, throwIfCancelled } from './cancellation.ts';
import { signPayloadsInThreadPool, travelsSafely } from './s3-checksums.ts';
import { fromS3Error, storeCodeOf } from './s3-errors.ts';
import { S3Habits } from './s3-habits.ts';
import { PartBuffers } from './part-buffers.ts';
import type { ResolvedS3Options } from './s3-options.ts';

/** Enough for four uploads of four parts beside as many downloads and WAL; the SDK's own 50 makes requests queue without a word. */
const socketMaximumCount = 64;
/** A socket idle for longer than most stores keep it would only fail at the next request. */
const idleSocketMs = 15_000;
/** The SDK waits between its attempts; this is what a whole operation may take on top of the attempts themselves. */
const retryPauseAllowanceMs = 30_000;
/** 409 ConditionalRequestConflict means that another writer was at it at the same instant: its outcome is known soon. */
const conflictAttemptsMaximumCount = 6;
const conflictPauseMs = 50;

/** One request, for limits and messages. */
export interface S3Request {
  readonly operation: string;
  /** With the prefix. Absent for requests about the whole prefix. */
  readonly objectKey?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Gives every request its time limit and every failure its words. */
export class S3Connection {
  readonly client: S3Client;
  readonly options: ResolvedS3Options;
  readonly habits: S3Habits;
  readonly partBuffers: PartBuffers;
  /** For GetObject. */
  readonly reads: HttpConnections;
  readonly #agents: readonly [HttpAgent, HttpsAgent];

  constructor(options: ResolvedS3Options) {
    const agentOptions = { keepAlive: true, maxSockets: socketMaximumCount, timeout: idleSocketMs };
    this.options = options;
    this.reads = new HttpConnections({
      connectTimeoutMs: options.connectTimeoutMs,
      answerTimeoutMs: options.requestTimeoutMs,
      idleMs: idleSocketMs,
      idleMaximumCount: socketMaximumCount,
    });
    this.partBuffers = new PartBuffers(options.partBytes);
    const checksums = options.checksums === 'when-supported';
    const unsignedPayloads = checksums && travelsSafely(options.endpoint);
    this.habits = new S3Habits({ checksums, conditions: true, delimiters: true, unsignedPayloads });
    this.#agents = [new HttpAgent({ ...agentOptions }), new HttpsAgent({ ...agentOptions })];
    this.client = createClient(options, this.#agents);
  }

  /** `s3://bucket/prefix`, or that of one object. */
  url(objectKey: string = this.options.prefix): string {
    return `s3://${this.options.bucket}${objectKey === '' ? '' : `/${objectKey}`}`;
  }

  /**
   * Sends a request and waits for its answer, without its body. The limit covers all attempts of the SDK.
   * @throws WalkbackError as mapped in s3-errors.ts, or CANCELLED
   */
  async run<T>(request: S3Request, send: (options: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    const url = this.url(request.objectKey);
    throwIfCancelled(request.operation, url, request.signal);
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(request.signal?.reason);
    const limitMs = this.options.requestTimeoutMs * this.options.maxAttempts + retryPauseAllowanceMs;
    const timer = setTimeout(() => controller.abort(), limitMs);
    request.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await send({ abortSignal: controller.signal });
    } catch (error) {
      if (request.signal?.aborted) throw cancelled(request.operation, url, request.signal);
      throw controller.signal.aborted ? this.#tooSlow(request.operation, url, limitMs) : this.#mapped(error, request.operation, url);
    } finally {
      // The SDK would cut off the body of an answer if the signal it was given fired later.
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** As `run`, and again when a concurrent conditional write of the key was in the way. */
  async runConditional<T>(request: S3Request, send: (options: { abortSignal: AbortSignal }) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.run(request, send);
      } catch (error) {
        if (storeCodeOf(error) !== 'ConditionalRequestConflict' || attempt === conflictAttemptsMaximumCount) throw error;
        await sleep(conflictPauseMs * 2 ** attempt * (0.5 + Math.random() / 2));
      }
    }
  }

  /** Closes idle and busy sockets. */
  close(): void {
    this.client.destroy();
    this.reads.close();
    for (const agent of this.#agents) agent.destroy();
  }

  #mapped(error: unknown, operation: string, url: string): WalkbackError {
    const { bucket, region, endpoint } = this.options;
    return fromS3Error(error, { operation, url, bucket, region, endpoint });
  }

  #tooSlow(operation: string, url: string, limitMs: number): WalkbackError {
    return new WalkbackError('STORAGE_UNREACHABLE', `${operation} of ${url} was not answered within ${limitMs} ms.`, {
      facts: { operation, url, limitMs },
    });
  }
}

function createClient(options: ResolvedS3Options, [httpAgent, httpsAgent]: readonly [HttpAgent, HttpsAgent]): S3Client {
  const client = new S3Client({
    region: options.region,
    forcePathStyle: options.forcePathStyle,
    maxAttempts: options.maxAttempts,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    // Writes bring a checksum of our own, made by native code and only where the store takes it.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    // Reads ask for the checksum one by one: some stores send that of the whole object with a range, which could never match.
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With it the SDK makes a new connection for every large upload.
    expectContinueHeader: false,
    requestHandler: {
      httpAgent,
      httpsAgent,
      connectionTimeout: options.connectTimeoutMs,
      requestTimeout: options.requestTimeoutMs,
      // Without it the SDK only prints a warning.
      throwOnRequestTimeout: true,
      // An idle socket is judged by the body's stall detector: here a slow reader would be taken for a dead store.
      socketTimeout: 0,
    },
  });
  signPayloadsInThreadPool(client);
  return client;
}
