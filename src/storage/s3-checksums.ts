/** Checksums of what is sent to an S3 store, made by native code and away from the main thread where there is much of it. */
import { createHash, webcrypto } from 'node:crypto';
import { crc32 } from 'node:zlib';
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
        const digest = await webcrypto.subtle.digest('SHA-256', body);
        headers['x-amz-content-sha256'] = Buffer.from(digest).toString('hex');
      }
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'walkbackPayloadHash' },
  );
}
