/** Multipart uploads. They live in memory: a restart forgets unfinished ones, and their files go with the next start. */
import { createHash, randomUUID } from 'node:crypto';
import type { BucketFiles, StoredBytes } from './bucket-files.ts';
import { compositeChecksum, requireChecksumName } from './checksums.ts';
import type { Checksum, ChecksumName } from './checksums.ts';
import {
  checksumHeaders,
  documentMaximumBytes,
  headersToKeep,
  requireKeyLength,
  wholeSecondsNow,
  writeCondition,
} from './object-operations.ts';
import { receiveBody, receiveText } from './received-body.ts';
import { emptyAnswer, xmlAnswer } from './s3-answer.ts';
import type { S3Answer } from './s3-answer.ts';
import { S3Error } from './s3-error.ts';
import type { S3Request } from './s3-request.ts';
import { readXmlList } from './xml.ts';

/** S3's limits ("Multipart upload limits" of the S3 user guide). */
const partMinimumBytes = 5 * 1024 * 1024;
const partMaximumCount = 10_000;

interface Upload {
  readonly id: string;
  readonly bucket: string;
  readonly key: string;
  readonly initiated: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly checksumName: ChecksumName | undefined;
  readonly parts: Map<number, StoredBytes>;
}

/** The uploads that are under way. */
export class MultipartUploads {
  readonly #uploads = new Map<string, Upload>();

  create(request: S3Request): S3Answer {
    requireKeyLength(request.key);
    const algorithm = request.http.headers['x-amz-checksum-algorithm'];
    const upload: Upload = {
      id: randomUUID(),
      bucket: request.bucket,
      key: request.key,
      initiated: wholeSecondsNow(),
      headers: headersToKeep(request.http.headers),
      checksumName: algorithm === undefined ? undefined : requireChecksumName(String(algorithm).toLowerCase()),
      parts: new Map(),
    };
    this.#uploads.set(upload.id, upload);
    return xmlAnswer('InitiateMultipartUploadResult', { Bucket: upload.bucket, Key: upload.key, UploadId: upload.id });
  }

  async uploadPart(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
    const upload = this.#require(request);
    const number = Number(request.query.get('partNumber'));
    if (!Number.isInteger(number) || number < 1 || number > partMaximumCount) {
      throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${partMaximumCount}.`);
    }
    const part = await bucket.writeBytes((take) => receiveBody(request.http, take));
    const refusal = this.#refusal(upload, part);
    const replaced = upload.parts.get(number);
    if (refusal === undefined) upload.parts.set(number, part);
    await bucket.removeFiles(refusal === undefined ? (replaced === undefined ? [] : [replaced.file]) : [part.file]);
    if (refusal !== undefined) throw refusal;
    return emptyAnswer(200, { etag: `"${part.md5}"`, ...checksumHeaders(part) });
  }

  async complete(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
    const upload = this.#require(request);
    const { text } = await receiveText(request.http, documentMaximumBytes);
    const named = readXmlList(text, 'Part');
    const parts = named.map((one) => requirePart(upload, one));
    requireOrder(named);
    requireSizes(parts);
    const etag = `${md5OfMd5s(parts)}-${parts.length}`;
    await bucket.place(
      {
        key: upload.key,
        sizeBytes: parts.reduce((total, part) => total + part.sizeBytes, 0),
        etag,
        lastModified: wholeSecondsNow(),
        headers: upload.headers,
        checksum: checksumOf(upload, parts),
        files: parts.map(({ file, sizeBytes }) => ({ file, sizeBytes })),
      },
      (existing) => {
        // Two completes of one upload may run side by side; the second has nothing left to complete.
        this.#require(request);
        writeCondition(request.http.headers)(existing);
        this.#uploads.delete(upload.id);
      },
    );
    const used = new Set(parts);
    await bucket.removeFiles([...upload.parts.values()].filter((part) => !used.has(part)).map(({ file }) => file));
    return xmlAnswer('CompleteMultipartUploadResult', {
      Location: `/${upload.bucket}/${upload.key}`,
      Bucket: upload.bucket,
      Key: upload.key,
      ETag: `"${etag}"`,
    });
  }

  async abort(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
    const upload = this.#require(request);
    this.#uploads.delete(upload.id);
    await bucket.removeFiles([...upload.parts.values()].map(({ file }) => file));
    return emptyAnswer(204);
  }

  listParts(request: S3Request): S3Answer {
    const upload = this.#require(request);
    const parts = [...upload.parts].sort(([left], [right]) => left - right);
    return xmlAnswer('ListPartsResult', {
      Bucket: upload.bucket,
      Key: upload.key,
      UploadId: upload.id,
      IsTruncated: false,
      Part: parts.map(([number, part]) => ({
        PartNumber: number,
        ETag: `"${part.md5}"`,
        Size: part.sizeBytes,
        LastModified: upload.initiated,
      })),
    });
  }

  listUploads(request: S3Request): S3Answer {
    const prefix = request.query.get('prefix') ?? '';
    const uploads = [...this.#uploads.values()].filter(({ bucket, key }) => bucket === request.bucket && key.startsWith(prefix));
    return xmlAnswer('ListMultipartUploadsResult', {
      Bucket: request.bucket,
      Prefix: prefix,
      IsTruncated: false,
      Upload: uploads.map(({ id, key, initiated }) => ({ Key: key, UploadId: id, Initiated: initiated })),
    });
  }

  #require(request: S3Request): Upload {
    const upload = this.#uploads.get(request.query.get('uploadId') ?? '');
    if (upload !== undefined && upload.bucket === request.bucket && upload.key === request.key) return upload;
    throw new S3Error('NoSuchUpload', 'The specified multipart upload does not exist. It may have been aborted or completed.');
  }

  #refusal(upload: Upload, part: StoredBytes): S3Error | undefined {
    if (!this.#uploads.has(upload.id)) return new S3Error('NoSuchUpload', 'The upload ended while this part came.');
    if (upload.checksumName === undefined || part.checksum?.name === upload.checksumName) return undefined;
    return new S3Error('InvalidRequest', `The upload was created with ${upload.checksumName}: every part needs this checksum.`);
  }
}

function requirePart(upload: Upload, named: ReadonlyMap<string, string>): StoredBytes {
  const part = upload.parts.get(Number(named.get('PartNumber')));
  const etag = named.get('ETag')?.replaceAll('"', '');
  if (part === undefined || part.md5 !== etag) throw new S3Error('InvalidPart', 'One or more of the specified parts could not be found.');
  if (upload.checksumName === undefined) return part;
  const element = `Checksum${upload.checksumName.toUpperCase()}`;
  const checksum = named.get(element);
  if (checksum === undefined) throw new S3Error('InvalidRequest', `Each part must be named with its ${element}.`);
  if (checksum !== part.checksum?.value) throw new S3Error('InvalidPart', `The ${element} of a part is not that of what was uploaded.`);
  return part;
}

function requireOrder(named: readonly ReadonlyMap<string, string>[]): void {
  let before = 0;
  for (const part of named) {
    const number = Number(part.get('PartNumber'));
    if (number <= before) throw new S3Error('InvalidPartOrder', 'The list of parts was not in ascending order.');
    before = number;
  }
}

function requireSizes(parts: readonly StoredBytes[]): void {
  if (parts.slice(0, -1).every((part) => part.sizeBytes >= partMinimumBytes)) return;
  throw new S3Error('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size.');
}

function md5OfMd5s(parts: readonly StoredBytes[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(Buffer.from(part.md5, 'hex'));
  return hash.digest('hex');
}

function checksumOf(upload: Upload, parts: readonly StoredBytes[]): Checksum | undefined {
  if (upload.checksumName === undefined) return undefined;
  return compositeChecksum(
    upload.checksumName,
    parts.map((part) => part.checksum?.value ?? ''),
  );
}
