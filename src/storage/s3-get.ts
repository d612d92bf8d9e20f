/** Reading an object of an S3 store. */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { WalkbackError } from '../domain/errors.ts';
import { rangeBeyondEnd } from './byte-range.ts';
import type { ByteRange } from './object-store.ts';
import { type ByteReader, readerOf } from './byte-reader.ts';
import { overConnections, ownConnectionsStep } from './http/object-reads.ts';
import { S3Body } from './s3-body.ts';
import { headerStep, wantedChecksum, withHeader } from './s3-checksums.ts';
import { KeptChecksum } from './s3-kept-checksum.ts';
import type { S3Connection } from './s3-connection.ts';
import { httpStatusOf, storeCodeOf } from './s3-errors.ts';

/** Read and thrown away at a time. */
const skippedAtATimeBytes = 64 * 1024;

/** What is to be read. */
export interface GetS3Options {
  readonly range?: ByteRange;
  readonly signal?: AbortSignal;
}

/** An answer to GetObject, with its body under watch. */
export interface OpenedS3Object {
  readonly answer: GetObjectCommandOutput;
  /** Of the whole object, also when only a range is read. */
  readonly sizeBytes: number;
  readonly body: S3Body;
}

/** Opens an object. @returns undefined for NoSuchKey and for nothing else */
export async function openS3Object(
  connection: S3Connection,
  objectKey: string,
  options: GetS3Options,
): Promise<OpenedS3Object | undefined> {
  const { range, signal } = options;
  const answer = await sendGet(connection, objectKey, { range, signal, etag: undefined });
  if (answer === undefined) return undefined;
  const source = bodyOf(answer);
  const url = connection.url(objectKey);
  const expectedBytes = answer.ContentLength;
  if (expectedBytes === undefined) throw unusableAnswer(source, url, 'it does not say how long the object is');
  const startBytes = range?.startBytes ?? 0;
  if (range !== undefined) requireRangeHonoured(answer, source, { url, startBytes });
  const body = new S3Body(readerOf(source), {
    url,
    expectedBytes,
    stallTimeoutMs: connection.options.stallTimeoutMs,
    signal,
    checksum: range === undefined ? KeptChecksum.of(answer) : undefined,
    reopen: reopenFrom(connection, objectKey, { startBytes, endBytes: startBytes + expectedBytes, etag: answer.ETag }),
  });
  return { answer, sizeBytes: totalBytesOf(answer) ?? expectedBytes, body };
}

/** Asks for the rest of the very same content: IfMatch makes the store refuse when the object was replaced meanwhile. */
function reopenFrom(
  connection: S3Connection,
  objectKey: string,
  whole: { readonly startBytes: number; readonly endBytes: number; readonly etag: string | undefined },
): ((receivedBytes: number, signal: AbortSignal) => Promise<ByteReader>) | undefined {
  const { etag } = whole;
  if (etag === undefined) return undefined;
  return async (receivedBytes, signal) => {
    const startBytes = whole.startBytes + receivedBytes;
    const url = connection.url(objectKey);
    const answer = await sendGet(connection, objectKey, { range: { startBytes, endBytes: whole.endBytes }, signal, etag });
    if (answer === undefined) throw replaced(url);
    const source = bodyOf(answer);
    // A store that ignores ranges sends the very same content from its beginning: IfMatch has made sure of that.
    if (answer.ContentRange === undefined && answer.ContentLength === whole.endBytes)
      return await withoutFirst(readerOf(source), startBytes);
    requireRangeHonoured(answer, source, { url, startBytes });
    return readerOf(source);
  };
}

async function sendGet(
  connection: S3Connection,
  objectKey: string,
  options: { readonly range: ByteRange | undefined; readonly signal: AbortSignal | undefined; readonly etag: string | undefined },
): Promise<GetObjectCommandOutput | undefined> {
  const { range, signal, etag } = options;
  const commandOf = (): GetObjectCommand =>
    new GetObjectCommand({
      Bucket: connection.options.bucket,
      Key: objectKey,
      ...(range === undefined ? {} : { Range: rangeHeader(range) }),
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
  try {
    return await connection.habits.send(range === undefined ? ['checksums'] : [], ({ checksums }) =>
      connection.run({ operation: 'GetObject', objectKey, signal }, (sendOptions) => {
        const command = commandOf();
        if (checksums && range === undefined) command.middlewareStack.add(withHeader(wantedChecksum), headerStep);
        command.middlewareStack.add(overConnections(connection.reads, sendOptions.abortSignal), ownConnectionsStep);
        return connection.client.send(command, sendOptions);
      }),
    );
  } catch (error) {
    const status = httpStatusOf(error);
    if (status === 404 && storeCodeOf(error) === 'NoSuchKey') return undefined;
    if (status === 412) throw replaced(connection.url(objectKey), error);
    if (status === 416 && range !== undefined) throw rangeBeyondEnd(connection.url(objectKey), range.startBytes, error);
    throw error;
  }
}

/** Reads the bytes that were received before once more. */
async function withoutFirst(reader: ByteReader, skippedBytes: number): Promise<ByteReader> {
  const scratch = Buffer.allocUnsafe(skippedAtATimeBytes);
  for (let leftBytes = skippedBytes; leftBytes > 0;) {
    const sizeBytes = await reader.readInto(scratch.subarray(0, leftBytes));
    if (sizeBytes === 0) break;
    leftBytes -= sizeBytes;
  }
  return reader;
}

function rangeHeader({ startBytes, endBytes }: ByteRange): string {
  return `bytes=${startBytes}-${endBytes === undefined ? '' : endBytes - 1}`;
}

function bodyOf(answer: GetObjectCommandOutput): Readable {
  if (answer.Body instanceof Readable) return answer.Body;
  throw new WalkbackError('INTERNAL', 'The S3 client gave a body that is not a stream.');
}

function totalBytesOf(answer: GetObjectCommandOutput): number | undefined {
  const total = /\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}

function requireRangeHonoured(
  answer: GetObjectCommandOutput,
  source: Readable,
  asked: { readonly url: string; readonly startBytes: number },
): void {
  if (answer.ContentRange?.startsWith(`bytes ${asked.startBytes}-`)) return;
  throw unusableAnswer(source, asked.url, `bytes from ${asked.startBytes} were asked for and it says ${answer.ContentRange ?? 'no range'}`);
}

function unusableAnswer(source: Readable, url: string, reason: string): WalkbackError {
  // An unread body would hold its socket for ever.
  source.on('error', () => undefined);
  source.destroy();
  return new WalkbackError('STORAGE_UNREACHABLE', `The answer to GetObject of ${url} cannot be used: ${reason}.`, {
    hint: 'Check that the endpoint is an S3 store that supports ranges, without a rewriting proxy before it.',
    facts: { url },
  });
}

function replaced(url: string, cause?: unknown): WalkbackError {
  return new WalkbackError('OBJECT_DAMAGED', `${url} was replaced or removed while it was read.`, {
    hint: 'Read it again; objects of an archive should never change.',
    facts: { url },
    cause,
  });
}
