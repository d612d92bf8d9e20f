/** Removing objects of an S3 store. */
import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3';
import { WalkbackError } from '../domain/errors.ts';
import { md5Base64 } from './s3-checksums.ts';
import type { S3Connection } from './s3-connection.ts';
import { httpStatusOf, storeCodeOf } from './s3-errors.ts';

/** S3's limit for one DeleteObjects. */
const batchMaximumCount = 1000;
/** Single deletes at a time, for stores without DeleteObjects. */
const singleConcurrencyCount = 8;

/** How the store wants batches to be protected; `none`: it takes no batches. The SDK itself sends a CRC-32 (aws-sdk-js-v3#6920). */
type BatchProtection = 'checksum' | 'content-md5' | 'none';
const nextProtection: Readonly<Record<BatchProtection, BatchProtection>> = { checksum: 'content-md5', 'content-md5': 'none', none: 'none' };

// Google's store lacks the request, others insist on Content-MD5.
const refusals: ReadonlySet<string> = new Set([
  'InvalidDigest',
  'InvalidRequest',
  'MethodNotAllowed',
  'MissingContentMD5',
  'NotImplemented',
]);

/** Removes objects in batches, and one by one where the store refuses batches however they are protected; that is remembered. */
export class S3Remover {
  readonly #connection: S3Connection;
  #protection: BatchProtection = 'checksum';

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** @throws WalkbackError for the first object that could not be removed */
  async remove(objectKeys: readonly string[]): Promise<void> {
    for (let at = 0; at < objectKeys.length; at += batchMaximumCount) {
      const batch = objectKeys.slice(at, at + batchMaximumCount);
      while (this.#protection !== 'none' && !(await this.#removeBatch(batch))) this.#protection = nextProtection[this.#protection];
      if (this.#protection === 'none') await this.#removeSingly(batch);
    }
  }

  /** @returns false when the store does not take batches in this form */
  async #removeBatch(objectKeys: readonly string[]): Promise<boolean> {
    const command = new DeleteObjectsCommand({
      Bucket: this.#connection.options.bucket,
      Delete: { Quiet: true, Objects: objectKeys.map((Key) => ({ Key })) },
    });
    if (this.#protection === 'content-md5') protectByMd5(command);
    try {
      const answer = await this.#connection.run({ operation: 'DeleteObjects' }, (sendOptions) =>
        this.#connection.client.send(command, sendOptions),
      );
      const refused = answer.Errors?.[0];
      if (refused !== undefined) throw this.#notRemoved(refused.Key ?? '', `${refused.Code}: ${refused.Message}`);
      return true;
    } catch (error) {
      if (!refusals.has(storeCodeOf(error) ?? '') && httpStatusOf(error) !== 501) throw error;
      return false;
    }
  }

  async #removeSingly(objectKeys: readonly string[]): Promise<void> {
    const waiting = objectKeys.values();
    const removeNext = async (): Promise<void> => {
      for (const objectKey of waiting) {
        const command = new DeleteObjectCommand({ Bucket: this.#connection.options.bucket, Key: objectKey });
        await this.#connection.run({ operation: 'DeleteObject', objectKey }, (sendOptions) =>
          this.#connection.client.send(command, sendOptions),
        );
      }
    };
    await Promise.all(Array.from({ length: Math.min(singleConcurrencyCount, objectKeys.length) }, removeNext));
  }

  #notRemoved(objectKey: string, reason: string): WalkbackError {
    const code = reason.startsWith('AccessDenied') ? 'STORAGE_ACCESS_DENIED' : 'STORAGE_UNREACHABLE';
    return new WalkbackError(code, `${this.#connection.url(objectKey)} could not be removed: ${reason}`, { facts: { objectKey } });
  }
}

/** In place of the SDK's checksum, which stores of that kind do not know (aws-sdk-js-v3#6932). */
function protectByMd5(command: DeleteObjectsCommand): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const { headers, body } = args.request as { headers: Record<string, string>; body: string | Uint8Array };
      for (const name of Object.keys(headers)) if (/^x-amz-(sdk-)?checksum/i.test(name)) delete headers[name];
      headers['content-md5'] = md5Base64(body);
      return next(args);
    },
    { step: 'build', priority: 'low', name: 'walkbackContentMd5' },
  );
}
