/** Removing objects of an S3 store. */
import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3';
import { WalkbackError } from '../domain/errors.ts';
import type { S3Connection } from './s3-connection.ts';
import { httpStatusOf, storeCodeOf } from './s3-errors.ts';

/** S3's limit for one DeleteObjects. */
const batchMaximumCount = 1000;
/** Single deletes at a time, for stores without DeleteObjects. */
const singleConcurrencyCount = 8;

// Google's store lacks the request, others insist on Content-MD5, which the SDK does not send (aws-sdk-js-v3#6920).
const refusals: ReadonlySet<string> = new Set([
  'InvalidDigest',
  'InvalidRequest',
  'MethodNotAllowed',
  'MissingContentMD5',
  'NotImplemented',
]);

/** Removes objects in batches, and one by one where the store refuses batches; that is remembered. */
export class S3Remover {
  readonly #connection: S3Connection;
  #batchesRefused = false;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** @throws WalkbackError for the first object that could not be removed */
  async remove(objectKeys: readonly string[]): Promise<void> {
    for (let at = 0; at < objectKeys.length; at += batchMaximumCount) {
      const batch = objectKeys.slice(at, at + batchMaximumCount);
      if (this.#batchesRefused || !(await this.#removeBatch(batch))) await this.#removeSingly(batch);
    }
  }

  /** @returns false when the store does not take batches */
  async #removeBatch(objectKeys: readonly string[]): Promise<boolean> {
    const command = new DeleteObjectsCommand({
      Bucket: this.#connection.options.bucket,
      Delete: { Quiet: true, Objects: objectKeys.map((Key) => ({ Key })) },
    });
    try {
      const answer = await this.#connection.run({ operation: 'DeleteObjects' }, (sendOptions) =>
        this.#connection.client.send(command, sendOptions),
      );
      const refused = answer.Errors?.[0];
      if (refused !== undefined) throw this.#notRemoved(refused.Key ?? '', `${refused.Code}: ${refused.Message}`);
      return true;
    } catch (error) {
      if (!refusals.has(storeCodeOf(error) ?? '') && httpStatusOf(error) !== 501) throw error;
      this.#batchesRefused = true;
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
