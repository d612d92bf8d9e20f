/** Takes in the body of a request and holds it against every digest that the request names. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { decodeChunked } from './chunked-body.ts';
import type { Trailer } from './chunked-body.ts';
import { checksumNameOf, startChecksum } from './checksums.ts';
import type { Checksum, ChecksumName, RunningChecksum } from './checksums.ts';
import { S3Error } from './s3-error.ts';

/** What came. */
export interface ReceivedBody {
  readonly sizeBytes: number;
  /** Hexadecimal; S3's ETag of an object put in one request. */
  readonly md5: string;
  /** The one the client sent and that was found right. */
  readonly checksum: Checksum | undefined;
}

interface ClaimedDigests {
  readonly contentMd5: string | undefined;
  /** Hexadecimal SHA-256 that was signed, or absent when the payload was not. */
  readonly signedSha256: string | undefined;
  readonly chunked: boolean;
  readonly sizeBytes: number;
  readonly checksumName: ChecksumName | undefined;
  readonly headerChecksum: string | undefined;
}

/**
 * Passes the payload on chunk by chunk. The chunks are only worth something when this has resolved.
 * @throws S3Error BadDigest, XAmzContentSHA256Mismatch, IncompleteBody, InvalidDigest, NotImplemented
 */
export async function receiveBody(http: IncomingMessage, take: (chunk: Buffer) => Promise<void>): Promise<ReceivedBody> {
  const claimed = claimedDigests(http);
  const trailer: Trailer = new Map();
  const md5 = createHash('md5');
  const sha256 = claimed.signedSha256 === undefined ? undefined : createHash('sha256');
  const checksum = claimed.checksumName === undefined ? undefined : startChecksum(claimed.checksumName);
  let sizeBytes = 0;
  // Were the request destroyed on an error, its sender could not be told which one.
  const received: AsyncIterable<Buffer> = http.iterator({ destroyOnReturn: false });
  for await (const chunk of claimed.chunked ? decodeChunked(received, trailer) : received) {
    sizeBytes += chunk.length;
    md5.update(chunk);
    sha256?.update(chunk);
    checksum?.update(chunk);
    await take(chunk);
  }
  if (sizeBytes !== claimed.sizeBytes) throw new S3Error('IncompleteBody', `${sizeBytes} of ${claimed.sizeBytes} bytes came.`);
  if (sha256 !== undefined && sha256.digest('hex') !== claimed.signedSha256) {
    throw new S3Error('XAmzContentSHA256Mismatch', 'The provided x-amz-content-sha256 header does not match what was computed.');
  }
  const digest = md5.digest();
  if (claimed.contentMd5 !== undefined && digest.toString('base64') !== claimed.contentMd5) throw badDigest('Content-MD5');
  return { sizeBytes, md5: digest.toString('hex'), checksum: verifiedChecksum(claimed, checksum, trailer) };
}

/** Takes in a small XML document. @throws S3Error EntityTooLarge, and as receiveBody */
export async function receiveText(
  http: IncomingMessage,
  maximumBytes: number,
): Promise<{ readonly text: string; readonly body: ReceivedBody }> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  const body = await receiveBody(http, async (chunk) => {
    sizeBytes += chunk.length;
    if (sizeBytes > maximumBytes) throw new S3Error('EntityTooLarge', `The document is larger than ${maximumBytes} bytes.`);
    chunks.push(chunk);
  });
  return { text: Buffer.concat(chunks).toString('utf8'), body };
}

function claimedDigests(http: IncomingMessage): ClaimedDigests {
  const sha256 = textOf(http, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD';
  const chunked = sha256 === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
  if (sha256.startsWith('STREAMING-') && !chunked) throw new S3Error('NotImplemented', `${sha256} is not served here.`);
  const header = Object.keys(http.headers).find((name) => checksumNameOf(name) !== undefined);
  const trailerName = textOf(http, 'x-amz-trailer');
  const contentMd5 = textOf(http, 'content-md5');
  if (contentMd5 !== undefined && Buffer.from(contentMd5, 'base64').length !== 16) {
    throw new S3Error('InvalidDigest', 'The Content-MD5 you specified is not valid.');
  }
  return {
    contentMd5,
    signedSha256: chunked || sha256 === 'UNSIGNED-PAYLOAD' ? undefined : sha256,
    chunked,
    sizeBytes: sizeOf(http, chunked),
    checksumName: checksumNameOf(header ?? trailerName ?? ''),
    headerChecksum: header === undefined ? undefined : textOf(http, header),
  };
}

function sizeOf(http: IncomingMessage, chunked: boolean): number {
  const length = textOf(http, chunked ? 'x-amz-decoded-content-length' : 'content-length');
  // Go's and Node's clients leave the header out of a POST without a body.
  if (length === undefined && http.headers['transfer-encoding'] === undefined) return 0;
  if (length !== undefined && /^\d+$/.test(length)) return Number(length);
  throw new S3Error('MissingContentLength', 'You must provide the Content-Length HTTP header.');
}

function verifiedChecksum(claimed: ClaimedDigests, computed: RunningChecksum | undefined, trailer: Trailer): Checksum | undefined {
  if (claimed.checksumName === undefined || computed === undefined) return undefined;
  const value = computed.digest();
  const sent = claimed.headerChecksum ?? trailer.get(`x-amz-checksum-${claimed.checksumName}`);
  if (sent !== value) throw badDigest(claimed.checksumName);
  return { name: claimed.checksumName, value };
}

function badDigest(name: string): S3Error {
  return new S3Error('BadDigest', `The ${name} you specified did not match what we received.`);
}

function textOf(http: IncomingMessage, name: string): string | undefined {
  const value = http.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
