/** Verifies AWS Signature Version 4 in the Authorization header ("Authenticating Requests" of the S3 API reference). */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from './s3-error.ts';
import type { S3Request } from './s3-request.ts';

/** The one key pair that is let in. */
export interface S3KeyPair {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** S3 refuses requests whose time is further off than this. */
const clockSkewMaximumMs = 15 * 60 * 1000;

const authorizationPattern =
  /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/s3\/aws4_request,\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/;

interface Authorization {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

/** @throws S3Error AccessDenied, InvalidAccessKeyId, RequestTimeTooSkewed or SignatureDoesNotMatch */
export function verifySignature(request: S3Request, keyPair: S3KeyPair): void {
  const authorization = parseAuthorization(request.http.headers.authorization);
  if (authorization.accessKeyId !== keyPair.accessKeyId) {
    throw new S3Error('InvalidAccessKeyId', 'The access key id you provided does not exist in our records.');
  }
  const time = headerOf(request, 'x-amz-date');
  requireRecent(time, authorization.date);
  const scope = `${authorization.date}/${authorization.region}/s3/aws4_request`;
  const stringToSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonicalRequest(request, authorization.signedHeaders))}`;
  const expected = hmac(signingKey(keyPair.secretAccessKey, authorization), stringToSign);
  if (timingSafeEqual(expected, Buffer.from(authorization.signature, 'hex'))) return;
  throw new S3Error('SignatureDoesNotMatch', 'The request signature we calculated does not match the signature you provided.');
}

function parseAuthorization(header: string | undefined): Authorization {
  const match = authorizationPattern.exec(header ?? '');
  if (match === null) throw new S3Error('AccessDenied', 'The request has no Authorization header of Signature Version 4.');
  const [, accessKeyId = '', date = '', region = '', signedHeaders = '', signature = ''] = match;
  const names = signedHeaders.split(';');
  if (!names.includes('host')) throw new S3Error('AccessDenied', 'The header host must be signed.');
  return { accessKeyId, date, region, signedHeaders: names, signature };
}

function requireRecent(time: string, date: string): void {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) ?? [];
  const milliseconds = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(milliseconds) || !time.startsWith(date))
    throw new S3Error('AccessDenied', 'x-amz-date is missing or not the date that was signed.');
  if (Math.abs(Date.now() - milliseconds) <= clockSkewMaximumMs) return;
  throw new S3Error('RequestTimeTooSkewed', 'The difference between the request time and the current time is too large.');
}

function canonicalRequest(request: S3Request, signedHeaders: readonly string[]): string {
  const headers = signedHeaders.map((name) => `${name}:${headerOf(request, name).trim().replace(/ +/g, ' ')}\n`).join('');
  return [
    request.http.method,
    request.rawPath
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    canonicalQuery(request.query),
    headers,
    signedHeaders.join(';'),
    headerOf(request, 'x-amz-content-sha256'),
  ].join('\n');
}

function canonicalQuery(query: URLSearchParams): string {
  return [...query]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
}

function headerOf(request: S3Request, name: string): string {
  const value = request.http.headers[name];
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}

function signingKey(secretAccessKey: string, { date, region }: Authorization): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), 's3'), 'aws4_request');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Encodes all but the unreserved characters of RFC 3986; encodeURIComponent leaves five more as they are. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
