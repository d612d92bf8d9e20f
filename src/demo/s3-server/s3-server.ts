/**
 * A small strict S3 server, for the demo and for the tests: it verifies signatures and checksums, is atomic where S3 is, and makes
 * the troubles that it is asked for. Not a store for data that anybody needs: nothing is fsynced.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { BucketFiles } from './bucket-files.ts';
import { spoilBody } from './faults.ts';
import type { Fault, FaultInjector } from './faults.ts';
import { type S3Quirks, applyQuirks } from './quirks.ts';
import { listObjects, listObjectsV2 } from './list-operations.ts';
import { MultipartUploads } from './multipart-operations.ts';
import { deleteObject, deleteObjects, getObject, headObject, putObject } from './object-operations.ts';
import { emptyAnswer, xmlAnswer } from './s3-answer.ts';
import type { S3Answer } from './s3-answer.ts';
import { S3Error } from './s3-error.ts';
import { parseRequest } from './s3-request.ts';
import type { S3Operation, S3Request } from './s3-request.ts';
import { verifySignature } from './signature.ts';
import type { S3KeyPair } from './signature.ts';

/** How the server is started. */
export interface S3ServerOptions extends S3KeyPair {
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Where objects are kept over a restart. Default: a directory of its own below the system's temporary one, removed by `close`. */
  readonly directory?: string;
  /** The buckets that there are; requests cannot make others. */
  readonly buckets: readonly string[];
  readonly faults?: FaultInjector;
  readonly quirks?: S3Quirks;
  /** Called after every request. */
  readonly log?: (entry: S3LogEntry) => void;
}

/** One request that was answered, or broken off. */
export interface S3LogEntry {
  readonly operation: S3Operation | 'unknown';
  readonly url: string;
  readonly httpStatus: number;
  readonly durationMs: number;
}

/** A server that runs. */
export interface S3Server extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  /** How many requests came, by operation. */
  readonly requests: ReadonlyMap<S3Operation, number>;
  /** Sockets that are open. */
  readonly connectionCount: () => Promise<number>;
  /** May be changed at any time. */
  faults: FaultInjector | undefined;
  /** Cuts every connection. */
  close(): Promise<void>;
}

/** Longer than clients keep idle sockets: whoever closes first must not be the server, or a request is lost now and then. */
const keepAliveMs = 60_000;

/** Starts the server; it answers when this resolves. */
export async function startS3Server(options: S3ServerOptions): Promise<S3Server> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'walkback-s3-')));
  const buckets = new Map<string, BucketFiles>();
  for (const name of options.buckets) buckets.set(name, await BucketFiles.open(join(directory, name)));
  const handler = new S3Handler(options, buckets);
  const server = createServer({ keepAliveTimeout: keepAliveMs }, (http, response) => void handler.handle(http, response));
  await listen(server, options.port ?? 0, options.host ?? '127.0.0.1');
  const close = async (): Promise<void> => {
    await closeServer(server);
    if (options.directory === undefined) await rm(directory, { recursive: true, force: true });
  };
  return {
    endpoint: endpointOf(server),
    requests: handler.requests,
    connectionCount: () => connectionCountOf(server),
    get faults() {
      return handler.faults;
    },
    set faults(faults) {
      handler.faults = faults;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

class S3Handler {
  readonly requests = new Map<S3Operation, number>();
  faults: FaultInjector | undefined;
  readonly #options: S3ServerOptions;
  readonly #buckets: ReadonlyMap<string, BucketFiles>;
  readonly #uploads = new MultipartUploads();
  /** Only kept while faults are injected. */
  readonly #attempts = new Map<string, number>();

  constructor(options: S3ServerOptions, buckets: ReadonlyMap<string, BucketFiles>) {
    this.#options = options;
    this.#buckets = buckets;
    this.faults = options.faults;
  }

  async handle(http: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = performance.now();
    let operation: S3LogEntry['operation'] = 'unknown';
    try {
      const request = parseRequest(http);
      operation = request.operation;
      await this.#respond(request, response);
    } catch (error) {
      await send(response, errorAnswer(error, http));
    }
    this.#options.log?.({
      operation,
      url: http.url ?? '',
      httpStatus: response.statusCode,
      durationMs: Math.round(performance.now() - startedMs),
    });
  }

  async #respond(request: S3Request, response: ServerResponse): Promise<void> {
    this.requests.set(request.operation, (this.requests.get(request.operation) ?? 0) + 1);
    const fault = this.#chooseFault(request);
    if (fault?.kind === 'reset-before-answer') {
      request.http.socket.resetAndDestroy();
      return;
    }
    if (fault?.kind === 'delay') await sleep(fault.delayMs);
    if (fault?.kind === 'hold-request') await fault.until;
    const answer =
      fault?.kind === 'error' || fault?.kind === 'error-in-200' ? faultAnswer(fault, request.http) : await this.#answer(request);
    if (fault?.kind === 'hold-answer') await fault.until;
    if (fault?.kind === 'lose-answer') request.http.socket.resetAndDestroy();
    else await send(response, spoilBody(answer, fault, request.http));
  }

  async #answer(request: S3Request): Promise<S3Answer> {
    verifySignature(request, this.#options);
    applyQuirks(this.#options.quirks, request);
    const bucket = this.#buckets.get(request.bucket);
    if (bucket === undefined) throw new S3Error('NoSuchBucket', 'The specified bucket does not exist.');
    return this.#perform(request, bucket);
  }

  #perform(request: S3Request, bucket: BucketFiles): S3Answer | Promise<S3Answer> {
    const uploads = this.#uploads;
    const operations: Readonly<Record<S3Operation, () => S3Answer | Promise<S3Answer>>> = {
      AbortMultipartUpload: () => uploads.abort(request, bucket),
      CompleteMultipartUpload: () => uploads.complete(request, bucket),
      CreateMultipartUpload: () => uploads.create(request),
      DeleteObject: () => deleteObject(request, bucket),
      DeleteObjects: () => deleteObjects(request, bucket),
      GetBucketLocation: () => xmlAnswer('LocationConstraint', {}),
      GetBucketVersioning: () => xmlAnswer('VersioningConfiguration', {}),
      GetObject: () => getObject(request, bucket),
      HeadBucket: () => emptyAnswer(200),
      HeadObject: () => headObject(request, bucket),
      ListMultipartUploads: () => uploads.listUploads(request),
      ListObjects: () => listObjects(request, this.#options.quirks?.listings?.() ?? bucket),
      ListObjectsV2: () => listObjectsV2(request, this.#options.quirks?.listings?.() ?? bucket),
      ListParts: () => uploads.listParts(request),
      PutObject: () => putObject(request, bucket),
      UploadPart: () => uploads.uploadPart(request, bucket),
    };
    return operations[request.operation]();
  }

  #chooseFault(request: S3Request): Fault | undefined {
    if (this.faults === undefined) return undefined;
    const { operation, bucket, key, http } = request;
    const id = `${operation} ${bucket}/${key}`;
    const attempt = (this.#attempts.get(id) ?? 0) + 1;
    this.#attempts.set(id, attempt);
    return this.faults({ operation, method: http.method ?? '', bucket, key, attempt });
  }
}

async function send(response: ServerResponse, answer: S3Answer): Promise<void> {
  if (response.destroyed || response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(answer.status, answer.headers);
  if (answer.body === undefined || typeof answer.body === 'string') {
    response.end(answer.body);
    return;
  }
  // A client that goes away, or a fault, ends it early: there is nobody left to tell.
  const body = Readable.from(answer.body);
  // What fails after that is told by nobody else.
  body.on('error', () => undefined);
  await pipeline(body, response).catch(() => response.destroy());
}

function faultAnswer(fault: Fault, http: IncomingMessage): S3Answer {
  if (fault.kind === 'error') return errorAnswer(new S3Error(fault.code, 'Injected.'), http);
  return xmlAnswer('Error', { Code: 'InternalError', Message: 'Injected.' });
}

function errorAnswer(error: unknown, http: IncomingMessage): S3Answer {
  const known = error instanceof S3Error ? error : new S3Error('InternalError', error instanceof Error ? error.message : String(error));
  if (http.method === 'HEAD' || known.httpStatus === 304) return emptyAnswer(known.httpStatus);
  return xmlAnswer('Error', { Code: known.code, Message: known.message, Resource: http.url }, { status: known.httpStatus });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function endpointOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The S3 server listens on no port.');
  return `http://${address.address.includes(':') ? `[${address.address}]` : address.address}:${address.port}`;
}

function connectionCountOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) => server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))));
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
