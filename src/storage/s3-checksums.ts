/** Checksums of what is sent to an S3 store, made by native code and away from the main thread where there is much of it; and the headers about them. */
import { createHash, webcrypto } from 'node:crypto';
import { crc32 } from '@node-rs/crc32';
import type { S3Client } from '@aws-sdk/client-s3';

/** From here on a hash in the thread pool costs less than the time that the main thread would lose. */
const offloadedMinimumBytes = 256 * 1024;

/** The value of x-amz-checksum-crc32. */
export function crc32Base64(bytes: Uint8Array): string {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(bytes));
  return value.toString('base64');
}

/** The value of Content-MD5. */
export function md5Base64(bytes: Uint8Array | string): string {
  return createHash('md5').update(bytes).digest('base64');
}

/** Payloads that nobody can touch on their way need no hash in their signature; the AWS CLI does so over HTTPS too. */
export function travelsSafely(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return true;
  const { protocol, hostname } = new URL(endpoint);
  return protocol === 'https:' || hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/** Leaves the payload of a write out of its signature: hashing it takes both sides longer than anything else about it. */
export const unsignedPayload: SignedHeader = { name: 'x-amz-content-sha256', value: 'UNSIGNED-PAYLOAD' };

/** Asks for the checksum that the store keeps. The command's ChecksumMode would do so too, and has the SDK check the body. */
export const wantedChecksum: SignedHeader = { name: 'x-amz-checksum-mode', value: 'ENABLED' };

/** A header that the SDK would not send by itself, or not so. */
interface SignedHeader {
  readonly name: string;
  readonly value: string;
}

/** Where `withHeader` belongs in the middleware of a command: before it is signed. */
export const headerStep = { step: 'build', priority: 'high', name: 'walkbackHeader' } as const;

/** A middleware that sets a header of the command's request. One for each command. */
export function withHeader({
  name,
  value,
}: SignedHeader): <Args extends { readonly request: unknown }, Result>(
  next: (args: Args) => Promise<Result>,
) => (args: Args) => Promise<Result> {
  return (next) => async (args) => {
    (args.request as OutgoingRequest).headers[name] = value;
    return await next(args);
  };
}

/** The part of an HTTP request that is needed here. */
interface OutgoingRequest {
  readonly headers: Record<string, string>;
  readonly body?: unknown;
}

/**
 * Has the payload of a large request hashed for its signature by the thread pool, once for all attempts. The SDK would do it on the main thread,
 * which then neither compresses nor reads (8 MiB take 6 ms); it takes a hash that is there already.
 */
export function signPayloadsInThreadPool(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const request = args.request as OutgoingRequest;
      const { body, headers } = request;
      if (body instanceof Uint8Array && body.length >= offloadedMinimumBytes && headers['x-amz-content-sha256'] === undefined) {
        const digest = await webcrypto.subtle.digest('SHA-256', inMemoryOfItsOwn(body));
        headers['x-amz-content-sha256'] = Buffer.from(digest).toString('hex');
      }
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'walkbackPayloadHash' },
  );
}

/** The Web Crypto API takes no view on memory that threads share, such as a WAL segment's; copying takes a tenth of hashing. */
function inMemoryOfItsOwn(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = bytes;
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, length) : new Uint8Array(bytes);
}
