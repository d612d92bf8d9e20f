/** The one place where the answers of an S3 store become errors of ours. */
import { S3ServiceException } from '@aws-sdk/client-s3';
import { WalkbackError } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';

/** What was being done when the store refused. */
export interface S3Situation {
  /** S3's name of the request, for example PutObject. */
  readonly operation: string;
  /** `s3://bucket/prefix/key` */
  readonly url: string;
  readonly bucket: string;
  readonly region: string;
  readonly endpoint: string | undefined;
}

// Codes as in "Error responses" of the Amazon S3 API reference; ExpiredToken and InvalidToken come with status 400.
const accessDeniedCodes: ReadonlySet<string> = new Set([
  'AccessDenied',
  'AccountProblem',
  'AllAccessDisabled',
  'CredentialsProviderError',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'UnrecognizedClientException',
]);
const misconfiguredCodes: ReadonlySet<string> = new Set([
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
  'InvalidBucketName',
  'NoSuchBucket',
  'PermanentRedirect',
]);
const requestTooLargeCodes: ReadonlySet<string> = new Set(['EntityTooLarge', 'KeyTooLongError', 'MetadataTooLarge']);

/** Says in our terms what the SDK threw. */
export function fromS3Error(error: unknown, situation: S3Situation): WalkbackError {
  const storeCode = storeCodeOf(error) ?? 'no answer';
  const httpStatus = httpStatusOf(error);
  const code = catalogueCodeOf(storeCode, httpStatus);
  const hint = hintFor(storeCode, situation);
  return new WalkbackError(code, `${situation.operation} of ${situation.url} failed: ${storeCode}: ${sentenceOf(error)}`, {
    facts: {
      operation: situation.operation,
      url: situation.url,
      endpoint: situation.endpoint ?? 'AWS',
      storeCode,
      httpStatus: httpStatus ?? null,
    },
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The store's own code (`NoSuchKey`), of an error of the SDK or of one that was mapped. */
export function storeCodeOf(error: unknown): string | undefined {
  if (error instanceof WalkbackError) return storeCodeOf(error.cause);
  return error instanceof Error ? error.name : undefined;
}

/** The HTTP status behind an error of the SDK or behind one that was mapped. */
export function httpStatusOf(error: unknown): number | undefined {
  if (error instanceof WalkbackError) return httpStatusOf(error.cause);
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

function catalogueCodeOf(storeCode: string, httpStatus: number | undefined): ErrorCode {
  if (misconfiguredCodes.has(storeCode)) return 'INVALID_CONFIGURATION';
  if (accessDeniedCodes.has(storeCode) || httpStatus === 401 || httpStatus === 403) return 'STORAGE_ACCESS_DENIED';
  return requestTooLargeCodes.has(storeCode) ? 'INVALID_REQUEST' : 'STORAGE_UNREACHABLE';
}

function hintFor(storeCode: string, situation: S3Situation): string | undefined {
  if (storeCode === 'NoSuchBucket') return `Create the bucket ${situation.bucket}, or correct its name in the storage URL.`;
  if (storeCode === 'RequestTimeTooSkewed') return 'Set the clock of this host: S3 refuses requests that are 15 minutes off.';
  if (storeCode === 'AccessDenied') {
    return 'Check the bucket policy. Without the permission s3:ListBucket, S3 answers AccessDenied for an absent object too.';
  }
  if (misconfiguredCodes.has(storeCode)) return `Check the region (${situation.region}), the endpoint and the bucket ${situation.bucket}.`;
  return undefined;
}

/** Connection errors of Node come with an empty message when several addresses were tried. */
function sentenceOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map((one) => sentenceOf(one)).join('; ');
  return error instanceof Error ? error.message : String(error);
}
