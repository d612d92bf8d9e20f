/** Listings, both versions. */
import { compareKeys } from '../../storage/object-key.ts';
import type { StoredObject } from './bucket-files.ts';
import { xmlAnswer } from './s3-answer.ts';
import type { S3Answer } from './s3-answer.ts';
import { S3Error } from './s3-error.ts';
import type { S3Request } from './s3-request.ts';
import type { XmlElements } from './xml.ts';

/** S3 gives no more in one answer. */
const pageMaximumCount = 1000;

/** What a listing shows: the bucket, or how it was a while ago. */
export interface ListedObjects {
  /** In the order of their UTF-8 bytes. */
  keys(): readonly string[];
  get(key: string): Pick<StoredObject, 'sizeBytes' | 'etag' | 'lastModified' | 'headers'> | undefined;
}

interface Page {
  readonly keys: readonly string[];
  readonly commonPrefixes: readonly string[];
  /** The last key or common prefix when there is more. */
  readonly last: string | undefined;
}

interface PageQuery {
  readonly prefix: string;
  readonly delimiter: string;
  /** Keys after this one, and after the common prefix that it may be. */
  readonly after: string;
  readonly maximumCount: number;
}

export function listObjectsV2(request: S3Request, bucket: ListedObjects): S3Answer {
  const { query } = request;
  const token = query.get('continuation-token');
  const after = token === null ? (query.get('start-after') ?? '') : fromToken(token);
  const page = findPage(bucket, pageQueryOf(query, after));
  return xmlAnswer('ListBucketResult', {
    ...commonElements(request, page, bucket),
    KeyCount: page.keys.length + page.commonPrefixes.length,
    ContinuationToken: token ?? undefined,
    NextContinuationToken: page.last === undefined ? undefined : toToken(page.last),
  });
}

export function listObjects(request: S3Request, bucket: ListedObjects): S3Answer {
  const marker = request.query.get('marker') ?? '';
  const page = findPage(bucket, pageQueryOf(request.query, marker));
  const encode = encoderOf(request);
  return xmlAnswer('ListBucketResult', {
    ...commonElements(request, page, bucket),
    Marker: encode(marker),
    NextMarker: page.last === undefined ? undefined : encode(page.last),
  });
}

function pageQueryOf(query: URLSearchParams, after: string): PageQuery {
  const maximumCount = Number(query.get('max-keys') ?? pageMaximumCount);
  if (!Number.isInteger(maximumCount) || maximumCount < 0) throw new S3Error('InvalidArgument', 'max-keys must be a whole number.');
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    after,
    maximumCount: Math.min(maximumCount, pageMaximumCount),
  };
}

function findPage(bucket: ListedObjects, { prefix, delimiter, after, maximumCount }: PageQuery): Page {
  const sorted = bucket.keys();
  const keys: string[] = [];
  const commonPrefixes: string[] = [];
  let last: string | undefined;
  const afterIsPrefix = delimiter !== '' && after.length > prefix.length && after.endsWith(delimiter);
  for (let at = firstIndexFrom(sorted, compareKeys(after, prefix) > 0 ? after : prefix); at < sorted.length; at++) {
    const key = sorted[at] ?? '';
    if (!key.startsWith(prefix)) break;
    if (key === after || (afterIsPrefix && key.startsWith(after))) continue;
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const commonPrefix = end < 0 ? undefined : key.slice(0, end + delimiter.length);
    if (commonPrefix !== undefined && commonPrefix === commonPrefixes.at(-1)) continue;
    if (keys.length + commonPrefixes.length === maximumCount) return { keys, commonPrefixes, last };
    if (commonPrefix === undefined) keys.push(key);
    else commonPrefixes.push(commonPrefix);
    last = commonPrefix ?? key;
  }
  return { keys, commonPrefixes, last: undefined };
}

/** By halving: the index of the first key that is not before `from`. */
function firstIndexFrom(sorted: readonly string[], from: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(sorted[middle] ?? '', from) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function commonElements(request: S3Request, page: Page, bucket: ListedObjects): XmlElements {
  const encode = encoderOf(request);
  return {
    Name: request.bucket,
    Prefix: encode(request.query.get('prefix') ?? ''),
    Delimiter: request.query.get('delimiter') ?? undefined,
    MaxKeys: request.query.get('max-keys') ?? pageMaximumCount,
    EncodingType: request.query.get('encoding-type') ?? undefined,
    IsTruncated: page.last !== undefined,
    Contents: page.keys.map((key) => contentsOf(bucket, key, encode)),
    CommonPrefixes: page.commonPrefixes.map((prefix) => ({ Prefix: encode(prefix) })),
  };
}

function contentsOf(bucket: ListedObjects, key: string, encode: (text: string) => string): XmlElements {
  const object = bucket.get(key);
  return {
    Key: encode(key),
    LastModified: object?.lastModified,
    ETag: `"${object?.etag}"`,
    Size: object?.sizeBytes,
    StorageClass: object?.headers['x-amz-storage-class'] ?? 'STANDARD',
  };
}

function encoderOf(request: S3Request): (text: string) => string {
  if (request.query.get('encoding-type') !== 'url') return (text) => text;
  return (text) => encodeURIComponent(text).replaceAll('%2F', '/');
}

function toToken(last: string): string {
  return Buffer.from(last).toString('base64url');
}

function fromToken(token: string): string {
  return Buffer.from(token, 'base64url').toString();
}
