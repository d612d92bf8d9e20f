/** What an S3 store makes of conditions, checksums and delimiters: asked directly, without the ways around that S3ObjectStore takes. */
import { ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import type { PutObjectCommandInput } from '@aws-sdk/client-s3';
import type { ChecksumSupport, EnforcedByStore } from '../domain/store-capabilities.ts';
import { crc32Base64 } from './s3-checksums.ts';
import type { S3Connection } from './s3-connection.ts';
import { httpStatusOf } from './s3-errors.ts';
import { isRefusal } from './s3-habits.ts';

const content = Buffer.from('walkback capability probe');

/** Probes below the folder, a key of the bucket without a slash at its end. @throws WalkbackError when the store cannot be written to at all */
export async function probeS3(connection: S3Connection, folder: string): Promise<EnforcedByStore> {
  const probe = new S3Probe(connection, folder);
  return {
    conditionalPut: await probe.conditionalPut(),
    checksums: await probe.checksums(),
    delimiterListing: await probe.delimiterListing(),
  };
}

class S3Probe {
  readonly #connection: S3Connection;
  readonly #folder: string;

  constructor(connection: S3Connection, folder: string) {
    this.#connection = connection;
    this.#folder = folder;
  }

  async conditionalPut(): Promise<boolean> {
    await this.#put('object', {});
    try {
      await this.#put('object', { IfNoneMatch: '*' });
      return false;
    } catch (error) {
      if (httpStatusOf(error) === 412) return true;
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  async checksums(): Promise<ChecksumSupport> {
    try {
      await this.#put('object', { ChecksumCRC32: crc32Base64(content) });
    } catch (error) {
      if (isRefusal(error)) return 'refused';
      throw error;
    }
    try {
      await this.#put('object', { ChecksumCRC32: crc32Base64(Buffer.from('other content')) });
      return 'ignored';
    } catch (error) {
      // BadDigest on AWS, other codes elsewhere: always the client's fault, and never that of something that may pass.
      if (httpStatusOf(error) === 400) return 'enforced';
      throw error;
    }
  }

  async delimiterListing(): Promise<boolean> {
    await this.#put('deeper/object', {});
    const { client, options } = this.#connection;
    const command = new ListObjectsV2Command({ Bucket: options.bucket, Prefix: `${this.#folder}/`, Delimiter: '/' });
    try {
      const page = await this.#connection.run({ operation: 'ListObjectsV2', objectKey: this.#folder }, (send) =>
        client.send(command, send),
      );
      const keys = (page.Contents ?? []).map(({ Key }) => Key);
      return keys.length === 1 && keys[0] === `${this.#folder}/object`;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  async #put(name: string, more: Partial<PutObjectCommandInput>): Promise<void> {
    const { client, options } = this.#connection;
    const objectKey = `${this.#folder}/${name}`;
    const command = new PutObjectCommand({ Bucket: options.bucket, Key: objectKey, Body: content, ContentLength: content.length, ...more });
    await this.#connection.run({ operation: 'PutObject', objectKey }, (send) => client.send(command, send));
  }
}
