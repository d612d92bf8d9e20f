/** What a request asks for: bucket, key, and S3's name of the operation. */
import type { IncomingMessage } from 'node:http';
import { S3Error } from './s3-error.ts';

/** The operations that are served. */
export type S3Operation =
  | 'AbortMultipartUpload'
  | 'CompleteMultipartUpload'
  | 'CreateMultipartUpload'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'GetBucketLocation'
  | 'GetBucketVersioning'
  | 'GetObject'
  | 'HeadBucket'
  | 'HeadObject'
  | 'ListMultipartUploads'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'ListParts'
  | 'PutObject'
  | 'UploadPart';

/** A request that was understood. */
export interface S3Request {
  readonly operation: S3Operation;
  readonly bucket: string;
  /** '' for requests about a bucket. */
  readonly key: string;
  /** Path as sent and query as sent, for the signature. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly query: URLSearchParams;
  readonly http: IncomingMessage;
}

/** Host names under which a bucket may stand as the first label. */
const virtualHostSuffix = '.localhost';

/** Understands a request. @throws S3Error NotImplemented for everything that is not served */
export function parseRequest(http: IncomingMessage): S3Request {
  const [rawPath = '/', rawQuery = ''] = (http.url ?? '/').split('?', 2);
  const path = decode(rawPath);
  const host = (http.headers.host ?? '').replace(/:\d+$/, '');
  const bucketOfHost = host.endsWith(virtualHostSuffix) ? host.slice(0, -virtualHostSuffix.length) : undefined;
  const [, bucketOfPath = '', keyOfPath = ''] = /^\/([^/]*)(?:\/(.*))?$/s.exec(path) ?? [];
  const bucket = bucketOfHost ?? bucketOfPath;
  const key = bucketOfHost === undefined ? keyOfPath : path.slice(1);
  // A plus is a plus in a query of S3; URLSearchParams would read a blank.
  const query = new URLSearchParams(rawQuery.replaceAll('+', '%2B'));
  return { operation: operationOf(http, key, query), bucket, key, rawPath, rawQuery, query, http };
}

function operationOf(http: IncomingMessage, key: string, query: URLSearchParams): S3Operation {
  const operation = key === '' ? bucketOperation(http.method, query) : objectOperation(http.method, query);
  if (operation !== undefined && http.headers['x-amz-copy-source'] === undefined) return operation;
  throw new S3Error('NotImplemented', `${http.method} ${http.url} is not served here.`);
}

function bucketOperation(method: string | undefined, query: URLSearchParams): S3Operation | undefined {
  if (method === 'HEAD') return 'HeadBucket';
  if (method === 'POST' && query.has('delete')) return 'DeleteObjects';
  if (method !== 'GET') return undefined;
  if (query.has('location')) return 'GetBucketLocation';
  if (query.has('versioning')) return 'GetBucketVersioning';
  if (query.has('uploads')) return 'ListMultipartUploads';
  if (query.get('list-type') === '2') return 'ListObjectsV2';
  return ['acl', 'versions', 'lifecycle', 'tagging', 'policy'].some((name) => query.has(name)) ? undefined : 'ListObjects';
}

function objectOperation(method: string | undefined, query: URLSearchParams): S3Operation | undefined {
  if (['acl', 'tagging', 'retention', 'legal-hold', 'restore', 'select', 'attributes'].some((name) => query.has(name))) return undefined;
  const inUpload = query.has('uploadId');
  switch (method) {
    case 'PUT':
      return inUpload ? 'UploadPart' : 'PutObject';
    case 'POST':
      if (query.has('uploads')) return 'CreateMultipartUpload';
      return inUpload ? 'CompleteMultipartUpload' : undefined;
    case 'GET':
      return inUpload ? 'ListParts' : 'GetObject';
    case 'HEAD':
      return 'HeadObject';
    case 'DELETE':
      return inUpload ? 'AbortMultipartUpload' : 'DeleteObject';
    default:
      return undefined;
  }
}

function decode(rawPath: string): string {
  try {
    return decodeURIComponent(rawPath);
  } catch {
    throw new S3Error('InvalidArgument', `${rawPath} is not a URL-encoded path.`);
  }
}
