/** An archive in an S3 bucket: AWS, or a store that speaks its protocol. */
import { HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import type { HeadObjectCommandOutput, ListObjectsV2CommandOutput, PutObjectCommandInput } from '@aws-sdk/client-s3';
import { WalkbackError } from '../domain/errors.ts';
import type { EnforcedByStore } from '../domain/store-capabilities.ts';
import { requireRange } from './byte-range.ts';
import { capabilitiesKey, readRecordedCapabilities } from './capability-record.ts';
import { requireKey, requireMetadata } from './object-key.ts';
import type { ByteRange, ObjectBody, ObjectInfo, ObjectStore, ObjectUpload, PutOptions } from './object-store.ts';
import { RecentWrites } from './recent-writes.ts';
import { crc32Base64, headerStep, unsignedPayload, withHeader } from './s3-checksums.ts';
import { S3Connection } from './s3-connection.ts';
import { S3Remover } from './s3-delete.ts';
import { httpStatusOf } from './s3-errors.ts';
import type { RequestForm } from './s3-habits.ts';
import { probeS3 } from './s3-probe.ts';
import { openS3Object } from './s3-get.ts';
import { resolveS3Options } from './s3-options.ts';
import type { S3StoreOptions } from './s3-options.ts';
import { S3Upload } from './s3-upload.ts';

/** Keys in one answer to a listing; also what is held in memory of it. S3 gives no more. */
const listPageMaximumCount = 1000;

/** Opens a bucket. Nothing is sent before the first request. @throws WalkbackError INVALID_CONFIGURATION */
export function createS3ObjectStore(options: S3StoreOptions): S3ObjectStore {
  return new S3ObjectStore(new S3Connection(resolveS3Options(options)));
}

/** ObjectStore over `@aws-sdk/client-s3`. Bodies are Buffers, which can be sent again; a stream could not. */
export class S3ObjectStore implements ObjectStore {
  readonly #connection: S3Connection;
  readonly #remover: S3Remover;
  readonly #recent = new RecentWrites();
  #recordRead: Promise<void> | undefined;

  constructor(connection: S3Connection) {
    this.#connection = connection;
    this.#remover = new S3Remover(connection);
  }

  get url(): string {
    return this.#connection.url();
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<ObjectInfo | 'exists'> {
    const objectKey = this.#objectKey(key);
    requireMetadata(options.metadata);
    if (options.ifAbsent === true) await (this.#recordRead ??= this.#readRecord(options.signal));
    const parts: readonly (keyof RequestForm)[] = [
      'checksums',
      'unsignedPayloads',
      ...(options.ifAbsent === true ? (['conditions'] as const) : []),
    ];
    const info = await this.#connection.habits.send(parts, (form) => this.#putInForm(key, bytes, { ...options, objectKey, form }));
    this.#recent.note(key);
    // What was just written holds from the next write on.
    if (key === capabilitiesKey) this.#recordRead = undefined;
    return info;
  }

  async openUpload(key: string, options: Omit<PutOptions, 'ifAbsent'> = {}): Promise<ObjectUpload> {
    const objectKey = this.#objectKey(key);
    requireMetadata(options.metadata);
    return new S3Upload(this.#connection, {
      objectKey,
      objectHeaders: this.#objectHeaders(options.metadata),
      signal: options.signal,
      toInfo: (facts) => {
        this.#recent.note(key);
        return { key, lastModified: wholeSecondsNow(), metadata: options.metadata ?? {}, ...facts };
      },
      putWhole: async (bytes) => {
        const info = await this.put(key, bytes, options);
        if (info === 'exists')
          throw new WalkbackError('INTERNAL', `${this.#connection.url(objectKey)}: an unconditional write was refused.`);
        return info;
      },
      head: (signal) => this.head(key, { signal }),
    });
  }

  async get(key: string, options: { readonly range?: ByteRange; readonly signal?: AbortSignal } = {}): Promise<ObjectBody | undefined> {
    requireRange(options.range);
    const opened = await this.#recent.ask(key, () => openS3Object(this.#connection, this.#objectKey(key), options), options.signal);
    if (opened === undefined) return undefined;
    return { info: toInfo(key, opened.answer, opened.sizeBytes), body: opened.body };
  }

  async head(key: string, options: { readonly signal?: AbortSignal } = {}): Promise<ObjectInfo | undefined> {
    const objectKey = this.#objectKey(key);
    try {
      const answer = await this.#connection.run({ operation: 'HeadObject', objectKey, signal: options.signal }, (sendOptions) =>
        this.#connection.client.send(new HeadObjectCommand(this.#target(objectKey)), sendOptions),
      );
      return toInfo(key, answer, answer.ContentLength ?? 0);
    } catch (error) {
      if (httpStatusOf(error) !== 404) throw error;
    }
    return this.#headByGet(key, options);
  }

  async *list(prefix: string, options: { readonly shallow?: boolean; readonly signal?: AbortSignal } = {}): AsyncIterable<ObjectInfo> {
    let continuationToken: string | undefined;
    do {
      const page = await this.#listPage(prefix, { ...options, continuationToken });
      for (const object of page.Contents ?? []) {
        const listed = this.#toListed(object);
        // Some stores do not know the delimiter and list what lies deeper too.
        if (options.shallow !== true || !listed.key.includes('/', prefix.length)) yield listed;
      }
      continuationToken = page.IsTruncated === true ? requireToken(page, this.url) : undefined;
    } while (continuationToken !== undefined);
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#recent.forget(key);
    await this.#remover.remove(keys.map((key) => this.#objectKey(key)));
  }

  async probe(folder: string): Promise<EnforcedByStore> {
    return await probeS3(this.#connection, this.#objectKey(folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close();
  }

  /**
   * One write. A store that does not honour conditions is asked before whether the key is taken: whoever writes between the question and the write
   * is overwritten, which only a store with conditions can prevent.
   */
  async #putInForm(
    key: string,
    bytes: Uint8Array,
    options: PutOptions & { readonly objectKey: string; readonly form: RequestForm },
  ): Promise<ObjectInfo | 'exists'> {
    const { objectKey, metadata, form, signal } = options;
    const isConditional = options.ifAbsent === true && form.conditions;
    if (options.ifAbsent === true && !isConditional && (await this.head(key, signal === undefined ? {} : { signal })) !== undefined)
      return 'exists';
    const command = new PutObjectCommand({
      ...this.#target(objectKey),
      ...this.#objectHeaders(metadata),
      Body: bytes,
      ContentLength: bytes.length,
      ...(form.checksums ? { ChecksumCRC32: crc32Base64(bytes) } : {}),
      ...(isConditional ? { IfNoneMatch: '*' } : {}),
    });
    // Without a checksum, the hash in the signature is all that protects the bytes on their way.
    if (form.unsignedPayloads && form.checksums) command.middlewareStack.add(withHeader(unsignedPayload), headerStep);
    try {
      const answer = await this.#connection.runConditional({ operation: 'PutObject', objectKey, signal }, (sendOptions) =>
        this.#connection.client.send(command, sendOptions),
      );
      return { key, sizeBytes: bytes.length, etag: answer.ETag, lastModified: wholeSecondsNow(), metadata: metadata ?? {} };
    } catch (error) {
      if (isConditional && httpStatusOf(error) === 412) return 'exists';
      throw error;
    }
  }

  /** A store that ignores conditions answers 200 as if it had honoured them: only a probe can tell, and it has written down what it found. */
  async #readRecord(signal: AbortSignal | undefined): Promise<void> {
    try {
      const known = await readRecordedCapabilities(this, signal === undefined ? {} : { signal });
      if (known === undefined) return;
      const { habits } = this.#connection;
      habits.adopt({
        conditions: habits.form.conditions && known.conditionalPut,
        checksums: habits.form.checksums && known.checksums !== 'refused',
      });
    } catch (error) {
      this.#recordRead = undefined;
      throw error;
    }
  }

  /** A 404 to HeadObject has no body and may as well mean the bucket, or a proxy: only GetObject's code proves that it is the key. */
  async #headByGet(key: string, options: { readonly signal?: AbortSignal }): Promise<ObjectInfo | undefined> {
    const object = await this.get(key, options);
    object?.body.destroy();
    return object?.info;
  }

  async #listPage(
    prefix: string,
    options: { readonly shallow?: boolean; readonly signal?: AbortSignal; readonly continuationToken: string | undefined },
  ): Promise<ListObjectsV2CommandOutput> {
    const { habits, client, options: connected } = this.#connection;
    return await habits.send(options.shallow === true ? ['delimiters'] : [], async ({ delimiters }) => {
      const command = new ListObjectsV2Command({
        Bucket: connected.bucket,
        Prefix: this.#rootKey + prefix,
        MaxKeys: listPageMaximumCount,
        ...(options.shallow === true && delimiters ? { Delimiter: '/' } : {}),
        ...(options.continuationToken === undefined ? {} : { ContinuationToken: options.continuationToken }),
      });
      const request = { operation: 'ListObjectsV2', objectKey: this.#rootKey + prefix, signal: options.signal };
      return await this.#connection.run(request, (sendOptions) => client.send(command, sendOptions));
    });
  }

  #toListed(object: NonNullable<ListObjectsV2CommandOutput['Contents']>[number]): ObjectInfo {
    return {
      key: (object.Key ?? '').slice(this.#rootKey.length),
      sizeBytes: object.Size ?? 0,
      etag: object.ETag,
      lastModified: object.LastModified ?? new Date(0),
    };
  }

  #objectHeaders(
    metadata: PutOptions['metadata'],
  ): Pick<PutObjectCommandInput, 'Metadata' | 'StorageClass' | 'ServerSideEncryption' | 'SSEKMSKeyId'> {
    const { storageClass, serverSideEncryption, kmsKeyId } = this.#connection.options;
    return {
      ...(metadata === undefined ? {} : { Metadata: { ...metadata } }),
      ...(storageClass === undefined ? {} : { StorageClass: storageClass as NonNullable<PutObjectCommandInput['StorageClass']> }),
      ...(serverSideEncryption === undefined ? {} : { ServerSideEncryption: serverSideEncryption }),
      ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    };
  }

  /** What stands before every key in the bucket: '' or `prefix/`. */
  get #rootKey(): string {
    const { prefix } = this.#connection.options;
    return prefix === '' ? '' : `${prefix}/`;
  }

  #objectKey(key: string): string {
    const objectKey = this.#rootKey + key;
    requireKey(objectKey);
    return objectKey;
  }

  #target(objectKey: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#connection.options.bucket, Key: objectKey };
  }
}

function toInfo(key: string, answer: Pick<HeadObjectCommandOutput, 'ETag' | 'LastModified' | 'Metadata'>, sizeBytes: number): ObjectInfo {
  return { key, sizeBytes, etag: answer.ETag, lastModified: answer.LastModified ?? new Date(0), metadata: answer.Metadata ?? {} };
}

/** Answers to writes carry no time; S3 keeps whole seconds. */
function wholeSecondsNow(): Date {
  return new Date(Math.floor(Date.now() / 1000) * 1000);
}

function requireToken(page: ListObjectsV2CommandOutput, url: string): string {
  if (page.NextContinuationToken !== undefined) return page.NextContinuationToken;
  throw new WalkbackError('STORAGE_UNREACHABLE', `The store cut a listing of ${url} short and did not say where to go on.`, {
    hint: 'Check that the endpoint supports ListObjectsV2.',
  });
}
