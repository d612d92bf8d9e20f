/** Ways in which compatible stores differ from S3 for good, not now and then: what a fault is to one request, a quirk is to the store. */
import type { IncomingHttpHeaders } from 'node:http';
import type { ListedObjects } from './list-operations.ts';
import { S3Error } from './s3-error.ts';
import type { S3Request } from './s3-request.ts';

/** What the store does not do as S3 does it. */
export interface S3Quirks {
  /** If-None-Match and If-Match on writes: taken and not looked at, or answered with 501. */
  readonly conditions?: 'ignored' | 'refused';
  /** x-amz-checksum-* and aws-chunked: taken and not looked at, or answered with 400, as Aliyun's and Tencent's stores do. */
  readonly checksums?: 'ignored' | 'refused';
  /** DeleteObjects insists on Content-MD5 and knows no other digest. */
  readonly deletes?: 'content-md5';
  /** The delimiter of a listing: not looked at, or answered with 501. */
  readonly delimiter?: 'ignored' | 'refused';
  /** Consistent only eventually: listings show this in place of what there is. Undefined: they show what there is. */
  readonly listings?: () => ListedObjects | undefined;
  /** Range: not looked at, the whole object comes. */
  readonly ranges?: 'ignored';
  /** x-amz-meta-*: lost. */
  readonly metadata?: 'lost';
  /** x-amz-content-sha256: UNSIGNED-PAYLOAD is answered with 403, as a bucket's policy may want. */
  readonly unsignedPayloads?: 'forbidden';
}

const checksumHeader = /^x-amz-(?:sdk-)?checksum|^x-amz-trailer$/;

/** Leaves of a request what such a store sees of it. @throws S3Error for what it refuses */
export function applyQuirks(quirks: S3Quirks | undefined, request: S3Request): void {
  if (quirks === undefined) return;
  const { headers } = request.http;
  if (quirks.unsignedPayloads === 'forbidden' && headers['x-amz-content-sha256'] === 'UNSIGNED-PAYLOAD') {
    throw new S3Error('AccessDenied', 'Access Denied');
  }
  if (quirks.conditions !== undefined && isWrite(request)) dropHeaders(headers, /^if-(?:none-)?match$/, quirks.conditions);
  if (quirks.deletes === 'content-md5' && request.operation === 'DeleteObjects') requireContentMd5(headers);
  if (quirks.checksums !== undefined) dropHeaders(headers, checksumHeader, quirks.checksums, 'InvalidArgument');
  if (quirks.ranges === 'ignored') dropHeaders(headers, /^range$/, 'ignored');
  if (quirks.metadata === 'lost') dropHeaders(headers, /^x-amz-meta-/, 'ignored');
  if (quirks.delimiter === 'refused' && request.query.has('delimiter')) throw new S3Error('NotImplemented', 'The delimiter is not known.');
  if (quirks.delimiter === 'ignored') request.query.delete('delimiter');
}

function isWrite({ operation }: S3Request): boolean {
  return operation === 'PutObject' || operation === 'CompleteMultipartUpload';
}

function requireContentMd5(headers: IncomingHttpHeaders): void {
  if (headers['content-md5'] !== undefined) return;
  throw new S3Error('InvalidRequest', 'Missing required header for this request: Content-MD5');
}

function dropHeaders(
  headers: IncomingHttpHeaders,
  names: RegExp,
  how: 'ignored' | 'refused',
  code: 'NotImplemented' | 'InvalidArgument' = 'NotImplemented',
): void {
  for (const name of Object.keys(headers).filter((header) => names.test(header))) {
    if (how === 'refused') throw new S3Error(code, `A header you provided implies functionality that is not implemented: ${name}`);
    delete headers[name];
  }
}
