/** Put, get, head and delete of objects. */
import type { IncomingHttpHeaders } from 'node:http';
import type { BucketFiles, StoredObject } from './bucket-files.ts';
import { receiveBody, receiveText } from './received-body.ts';
import { emptyAnswer, xmlAnswer } from './s3-answer.ts';
import type { S3Answer } from './s3-answer.ts';
import { S3Error } from './s3-error.ts';
import type { S3Request } from './s3-request.ts';
import { readXmlList } from './xml.ts';

/** Bytes of a list of keys or parts: 10,000 parts with checksums fit. */
export const documentMaximumBytes = 4 * 1024 * 1024;
/** S3's limits for one PutObject and for a DeleteObjects. */
const objectMaximumBytes = 5 * 1024 * 1024 * 1024;
const deleteMaximumCount = 1000;
const keyMaximumBytes = 1024;

const keptHeaders: ReadonlySet<string> = new Set([
  'cache-control',
  'content-disposition',
  'content-language',
  'content-type',
  'x-amz-storage-class',
]);

export async function putObject(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
  requireKeyLength(request.key);
  if (Number(request.http.headers['content-length']) > objectMaximumBytes)
    throw new S3Error('EntityTooLarge', 'One put takes 5 GiB at most.');
  const stored = await bucket.writeBytes((take) => receiveBody(request.http, take));
  await bucket
    .place(
      {
        key: request.key,
        sizeBytes: stored.sizeBytes,
        etag: stored.md5,
        lastModified: wholeSecondsNow(),
        headers: headersToKeep(request.http.headers),
        checksum: stored.checksum,
        files: [{ file: stored.file, sizeBytes: stored.sizeBytes }],
      },
      writeCondition(request.http.headers),
    )
    .catch(async (error: unknown) => {
      await bucket.removeFiles([stored.file]);
      throw error;
    });
  return emptyAnswer(200, { etag: `"${stored.md5}"`, ...checksumHeaders(stored) });
}

export function getObject(request: S3Request, bucket: BucketFiles): S3Answer {
  const object = requireObject(request, bucket);
  const range = rangeOf(request.http.headers.range, object.sizeBytes);
  if (range === undefined) {
    return { status: 200, headers: objectHeaders(request, object, object.sizeBytes), body: bucket.read(object, 0, object.sizeBytes) };
  }
  const { startBytes, endBytes } = range;
  const contentRange = `bytes ${startBytes}-${endBytes - 1}/${object.sizeBytes}`;
  return {
    status: 206,
    headers: { ...objectHeaders(request, object, endBytes - startBytes), 'content-range': contentRange },
    body: bucket.read(object, startBytes, endBytes),
  };
}

export function headObject(request: S3Request, bucket: BucketFiles): S3Answer {
  const object = requireObject(request, bucket);
  return emptyAnswer(200, objectHeaders(request, object, object.sizeBytes));
}

export async function deleteObject(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
  await bucket.remove(request.key);
  return emptyAnswer(204);
}

export async function deleteObjects(request: S3Request, bucket: BucketFiles): Promise<S3Answer> {
  const { text, body } = await receiveText(request.http, documentMaximumBytes);
  if (request.http.headers['content-md5'] === undefined && body.checksum === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*');
  }
  const keys = readXmlList(text, 'Object').map((object) => object.get('Key') ?? '');
  if (keys.length > deleteMaximumCount) throw new S3Error('MalformedXML', `${keys.length} keys are more than ${deleteMaximumCount}.`);
  await Promise.all(keys.map((key) => bucket.remove(key)));
  const quiet = /<Quiet>true<\/Quiet>/.test(text);
  return xmlAnswer('DeleteResult', quiet ? {} : { Deleted: keys.map((Key) => ({ Key })) });
}

/** The condition of a write, asked at the instant of placing. @throws S3Error NotImplemented for conditions S3 does not have either */
export function writeCondition(headers: IncomingHttpHeaders): (existing: StoredObject | undefined) => void {
  const ifNoneMatch = headers['if-none-match'];
  const ifMatch = headers['if-match'];
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw new S3Error('NotImplemented', 'If-None-Match of a write takes * only.');
  return (existing) => {
    if (ifNoneMatch === '*' && existing !== undefined)
      throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold.');
    if (ifMatch === undefined) return;
    if (existing === undefined) throw new S3Error('NoSuchKey', 'The specified key does not exist.');
    if (!matches(ifMatch, existing))
      throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold.');
  };
}

/** Headers that come back with the object: user metadata and a few of HTTP. */
export function headersToKeep(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  const kept = Object.entries(headers).filter(([name]) => name.startsWith('x-amz-meta-') || keptHeaders.has(name));
  return Object.fromEntries(kept.map(([name, value]) => [name, String(value)]));
}

/** S3 keeps whole seconds. */
export function wholeSecondsNow(): string {
  return new Date(Math.floor(Date.now() / 1000) * 1000).toISOString();
}

/** @throws S3Error KeyTooLongError */
export function requireKeyLength(key: string): void {
  if (Buffer.byteLength(key) > keyMaximumBytes) throw new S3Error('KeyTooLongError', 'Your key is too long.');
}

/** The header that tells a checksum. */
export function checksumHeaders({ checksum }: Pick<StoredObject, 'checksum'>): Readonly<Record<string, string>> {
  return checksum === undefined ? {} : { [`x-amz-checksum-${checksum.name}`]: checksum.value };
}

function requireObject(request: S3Request, bucket: BucketFiles): StoredObject {
  const object = bucket.get(request.key);
  if (object === undefined) throw new S3Error('NoSuchKey', 'The specified key does not exist.');
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.http.headers;
  if (ifMatch !== undefined && !matches(ifMatch, object)) throw new S3Error('PreconditionFailed', 'The object is not the one you named.');
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, object)) throw new S3Error('NotModified', 'The object is the one you have.');
  return object;
}

function matches(condition: string, object: StoredObject): boolean {
  return condition.split(',').some((tag) => ['*', `"${object.etag}"`, object.etag].includes(tag.trim()));
}

function objectHeaders(request: S3Request, object: StoredObject, contentBytes: number): Record<string, string | number> {
  const wantsChecksum = request.http.headers['x-amz-checksum-mode'] === 'ENABLED' && contentBytes === object.sizeBytes;
  return {
    'content-type': 'binary/octet-stream',
    ...object.headers,
    'content-length': contentBytes,
    'accept-ranges': 'bytes',
    etag: `"${object.etag}"`,
    'last-modified': new Date(object.lastModified).toUTCString(),
    ...(wantsChecksum ? checksumHeaders(object) : {}),
  };
}

/** One range of bytes; several, or another unit, are ignored as S3 ignores them. @throws S3Error InvalidRange */
function rangeOf(header: string | undefined, sizeBytes: number): { readonly startBytes: number; readonly endBytes: number } | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const startBytes = first === '' ? Math.max(sizeBytes - Number(last), 0) : Number(first);
  const endBytes = first === '' || last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  if (startBytes >= endBytes) throw new S3Error('InvalidRange', 'The requested range is not satisfiable.');
  return { startBytes, endBytes };
}
