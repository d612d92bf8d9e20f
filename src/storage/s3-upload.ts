/** Writing an object of unknown length to an S3 store, by hand: lib-storage's Upload cannot bound an upload of unknown length or tell why it failed. */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import type { CompletedPart, CreateMultipartUploadCommandInput } from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import { WalkbackError } from '../domain/errors.ts';
import { copyBytes } from './copy-bytes.ts';
import type { ObjectInfo, ObjectUpload } from './object-store.ts';
import { crc32Base64, headerStep, unsignedPayload, withHeader } from './s3-checksums.ts';
import type { S3Connection } from './s3-connection.ts';
import { storeCodeOf } from './s3-errors.ts';
import { isRefusal } from './s3-habits.ts';

/** S3's limit ("Multipart upload limits" of the S3 user guide). */
const partMaximumCount = 10_000;

/** What an upload is given by its store. */
export interface S3UploadOptions {
  readonly objectKey: string;
  /** Metadata, storage class and encryption, as CreateMultipartUpload takes them. */
  readonly objectHeaders: Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'>;
  readonly signal: AbortSignal | undefined;
  /** Says what was written, in the store's terms. */
  readonly toInfo: (facts: Pick<ObjectInfo, 'sizeBytes' | 'etag'>) => ObjectInfo;
  /** Writes the object in one request: taken when it never filled its first part. */
  readonly putWhole: (bytes: Buffer) => Promise<ObjectInfo>;
  /** What the store has under the key now. */
  readonly head: (signal: AbortSignal) => Promise<ObjectInfo | undefined>;
}

/** One multipart upload. Holds uploadConcurrency + 1 buffers of partBytes at most, and all uploads of a store together a bounded number (PartBuffers). */
export class S3Upload implements ObjectUpload {
  readonly #connection: S3Connection;
  readonly #options: S3UploadOptions;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #parts: CompletedPart[] = [];
  #uploadId: string | undefined;
  /** Parts bring a checksum: decided when the upload is made, since stores refuse one without the other. */
  #hasChecksums = false;
  /** The one that is being filled. */
  #buffer: Buffer | undefined;
  #filledBytes = 0;
  #sentBytes = 0;
  #failure: Error | undefined;
  #completed: ObjectInfo | undefined;

  constructor(connection: S3Connection, options: S3UploadOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#signal = options.signal === undefined ? this.#stop.signal : AbortSignal.any([options.signal, this.#stop.signal]);
  }

  async write(bytes: Uint8Array): Promise<void> {
    let takenBytes = 0;
    this.#throwIfFailed();
    while (takenBytes < bytes.length) {
      // A full part is sent when more comes, so that an object of exactly one part is one PutObject.
      if (this.#filledBytes === this.#buffer?.length) await this.#sendPart(this.#buffer);
      const buffer = (this.#buffer ??= await this.#connection.partBuffers.take());
      const copiedBytes = copyBytes(bytes.subarray(takenBytes), buffer, this.#filledBytes);
      this.#filledBytes += copiedBytes;
      takenBytes += copiedBytes;
    }
  }

  async flush(): Promise<void> {
    this.#throwIfFailed();
    if (this.#completed !== undefined) return;
    if (this.#parts.length === 0 && this.#uploadId === undefined) {
      this.#completed = await this.#options.putWhole(this.#buffer?.subarray(0, this.#filledBytes) ?? Buffer.alloc(0));
      this.#giveBack();
      return;
    }
    if (this.#buffer !== undefined) await this.#sendPart(this.#buffer);
    while (this.#inFlight.size > 0) await Promise.race(this.#inFlight);
    this.#throwIfFailed();
  }

  async complete(signal?: AbortSignal): Promise<ObjectInfo> {
    await this.flush();
    this.#completed ??= await this.#completeMultipart(signal === undefined ? this.#signal : AbortSignal.any([signal, this.#stop.signal]));
    return this.#completed;
  }

  async abort(): Promise<void> {
    if (this.#completed !== undefined) return;
    this.#failure ??= new WalkbackError('CANCELLED', `The upload of ${this.#url} was given up.`);
    this.#stop.abort();
    // A part that lands after the abort would stay behind and be paid for.
    await Promise.allSettled(this.#inFlight);
    this.#dropBuffer();
    const uploadId = this.#uploadId;
    if (uploadId === undefined) return;
    try {
      await this.#connection.run({ operation: 'AbortMultipartUpload', objectKey: this.#options.objectKey }, (sendOptions) =>
        this.#connection.client.send(new AbortMultipartUploadCommand({ ...this.#target, UploadId: uploadId }), sendOptions),
      );
    } catch (error) {
      // Gone is what was wanted: the answer to an earlier abort was lost.
      if (storeCodeOf(error) !== 'NoSuchUpload') throw error;
    }
    this.#uploadId = undefined;
  }

  get #url(): string {
    return this.#connection.url(this.#options.objectKey);
  }

  get #target(): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#connection.options.bucket, Key: this.#options.objectKey };
  }

  /** Hands the buffer to the background once there is room. */
  async #sendPart(buffer: Buffer): Promise<void> {
    const uploadId = (this.#uploadId ??= await this.#create());
    while (this.#inFlight.size >= this.#connection.options.uploadConcurrency) await Promise.race(this.#inFlight);
    this.#throwIfFailed();
    const partNumber = this.#parts.length + 1;
    if (partNumber > partMaximumCount) throw this.#tooManyParts();
    const part = this.#newPart(partNumber, buffer.subarray(0, this.#filledBytes));
    this.#sentBytes += this.#filledBytes;
    this.#buffer = undefined;
    this.#filledBytes = 0;
    this.#parts.push(part.completed);
    const sending = this.#uploadPart(uploadId, part).then(
      () => this.#connection.partBuffers.give(buffer),
      (error: unknown) => {
        this.#failure ??= error instanceof Error ? error : new Error(String(error));
        this.#connection.partBuffers.drop();
      },
    );
    this.#inFlight.add(sending);
    void sending.then(() => this.#inFlight.delete(sending));
  }

  #giveBack(): void {
    if (this.#buffer !== undefined) this.#connection.partBuffers.give(this.#buffer);
    this.#buffer = undefined;
  }

  /** A request that failed may hold it yet. */
  #dropBuffer(): void {
    if (this.#buffer !== undefined) this.#connection.partBuffers.drop();
    this.#buffer = undefined;
  }

  #newPart(partNumber: number, bytes: Buffer): { readonly bytes: Buffer; readonly completed: CompletedPart } {
    const checksum = this.#hasChecksums ? { ChecksumCRC32: crc32Base64(bytes) } : {};
    return { bytes, completed: { PartNumber: partNumber, ...checksum } };
  }

  async #create(): Promise<string> {
    const { habits, client } = this.#connection;
    const answer = await habits.send(['checksums'], async ({ checksums }) => {
      const algorithm = checksums ? { ChecksumAlgorithm: 'CRC32' as const } : {};
      const command = new CreateMultipartUploadCommand({ ...this.#target, ...this.#options.objectHeaders, ...algorithm });
      this.#hasChecksums = checksums;
      return await this.#connection.run(this.#request('CreateMultipartUpload'), (sendOptions) => client.send(command, sendOptions));
    });
    if (answer.UploadId !== undefined) return answer.UploadId;
    throw new WalkbackError('STORAGE_UNREACHABLE', `CreateMultipartUpload of ${this.#url} was answered without an upload id.`);
  }

  async #uploadPart(uploadId: string, part: { readonly bytes: Buffer; readonly completed: CompletedPart }): Promise<void> {
    const { habits, client } = this.#connection;
    try {
      part.completed.ETag = await habits.send(['unsignedPayloads'], async ({ unsignedPayloads }) => {
        const command = new UploadPartCommand({
          ...this.#target,
          ...part.completed,
          PartNumber: part.completed.PartNumber,
          UploadId: uploadId,
          Body: part.bytes,
        });
        if (unsignedPayloads && this.#hasChecksums) command.middlewareStack.add(withHeader(unsignedPayload), headerStep);
        const answer = await this.#connection.run(this.#request('UploadPart'), (sendOptions) => client.send(command, sendOptions));
        return answer.ETag;
      });
    } catch (error) {
      // A store that takes an upload with checksums and then refuses its parts: the next upload comes without.
      if (this.#hasChecksums && isRefusal(error)) habits.adopt({ checksums: false });
      throw error;
    }
  }

  async #completeMultipart(signal: AbortSignal): Promise<ObjectInfo> {
    const command = new CompleteMultipartUploadCommand({
      ...this.#target,
      UploadId: this.#uploadId,
      MultipartUpload: { Parts: this.#parts },
    });
    try {
      const answer = await this.#connection.run(this.#request('CompleteMultipartUpload', signal), (sendOptions) =>
        this.#connection.client.send(command, sendOptions),
      );
      return this.#options.toInfo({ sizeBytes: this.#sentBytes, etag: answer.ETag });
    } catch (error) {
      if (storeCodeOf(error) !== 'NoSuchUpload') throw error;
      const own = await this.#findOwnWork(signal);
      if (own === undefined) throw this.#lost(error);
      return own;
    }
  }

  /** The answer to a first Complete may have been lost, and the SDK's second one finds no upload. Ours it is when the tag says so. */
  async #findOwnWork(signal: AbortSignal): Promise<ObjectInfo | undefined> {
    const info = await this.#options.head(signal);
    return info?.sizeBytes === this.#sentBytes && info.etag === multipartEtag(this.#parts) ? info : undefined;
  }

  #request(operation: string, signal = this.#signal): { operation: string; objectKey: string; signal: AbortSignal } {
    return { operation, objectKey: this.#options.objectKey, signal };
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #lost(cause: unknown): WalkbackError {
    return new WalkbackError('INTERNAL', `The store no longer knows the upload of ${this.#url}, all of which it had.`, {
      hint: 'A lifecycle rule that aborts incomplete uploads has to leave them for a day at least.',
      cause,
    });
  }

  #tooManyParts(): WalkbackError {
    const { partBytes } = this.#connection.options;
    return new WalkbackError('INVALID_CONFIGURATION', `${this.#url} needs more than ${partMaximumCount} parts of ${partBytes} bytes.`, {
      hint: 'Raise the storage option partBytes.',
    });
  }
}

/** The tag that S3 gives: the MD5 of the parts' MD5s and their number, where the parts' tags are MD5s. */
function multipartEtag(parts: readonly CompletedPart[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(Buffer.from((part.ETag ?? '').replaceAll('"', ''), 'hex'));
  return `"${hash.digest('hex')}-${parts.length}"`;
}
