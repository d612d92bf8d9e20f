/** What an S3 store is told, with defaults and the reasons for them. */
import { WalkbackError } from '../domain/errors.ts';

/** A fixed key pair, or a temporary one with its session token. */
interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** When a temporary pair ends; the provider is asked again before. */
  readonly expiration?: Date;
}

/** The options of an S3 store. */
export interface S3StoreOptions {
  readonly bucket: string;
  /** '' for the bucket's root, or `a/b` without slashes at the ends. */
  readonly prefix: string;
  /** Default us-east-1, which is also what compatible stores usually expect. */
  readonly region?: string;
  /** For compatible stores, for example `http://127.0.0.1:9000`. Default: AWS, by region. */
  readonly endpoint?: string;
  /** `http://host/bucket/key` instead of `http://bucket.host/key`. Default true with an endpoint, else false. */
  readonly forcePathStyle?: boolean;
  /** Default: the SDK's chain (environment, SSO, ini files, web identity, process, container, instance). */
  readonly credentials?: S3Credentials | (() => Promise<S3Credentials>);
  /** For example STANDARD_IA. Default: the bucket's. */
  readonly storageClass?: string;
  /** Default: the bucket's own rule. */
  readonly serverSideEncryption?: 'AES256' | 'aws:kms' | 'aws:kms:dsse';
  readonly kmsKeyId?: string;
  /** Size of a part of a multipart upload and of the buffers. Default 16 MiB: 10,000 parts make 156 GiB, far over a tar partition, at half a request for 8 MiB. */
  readonly partBytes?: number;
  /** Parts in flight for each upload. Default 4: enough to fill a gigabit line at 100 ms. */
  readonly uploadConcurrency?: number;
  /** Time to open a connection. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Time until a request is answered, its upload included. Default 60,000: one part at 140 kB/s. */
  readonly requestTimeoutMs?: number;
  /** Longest time without a byte while reading a body. Default 30,000. */
  readonly stallTimeoutMs?: number;
  /** Attempts for one request, the first included. Default 3: the callers retry as well, and both multiply. */
  readonly maxAttempts?: number;
  /** 'when-supported' sends CRC32 with every upload and verifies it on reads; 'when-required' is for stores that choke on it. Default 'when-supported'. */
  readonly checksums?: 'when-supported' | 'when-required';
}

/** The options with every default filled in. */
export type ResolvedS3Options = S3StoreOptions & Required<Omit<S3StoreOptions, keyof OptionalS3Options>>;

type OptionalS3Options = Pick<S3StoreOptions, 'endpoint' | 'credentials' | 'storageClass' | 'serverSideEncryption' | 'kmsKeyId'>;

/** S3 refuses parts under 5 MiB (except the last) and over 5 GiB. */
const partMinimumBytes = 5 * 1024 * 1024;
const partMaximumBytes = 5 * 1024 * 1024 * 1024;

/** Fills in the defaults. @throws WalkbackError INVALID_CONFIGURATION */
export function resolveS3Options(options: S3StoreOptions): ResolvedS3Options {
  const resolved: ResolvedS3Options = {
    ...options,
    prefix: options.prefix.replace(/^\/+|\/+$/g, ''),
    region: options.region ?? 'us-east-1',
    forcePathStyle: options.forcePathStyle ?? options.endpoint !== undefined,
    partBytes: options.partBytes ?? 16 * 1024 * 1024,
    uploadConcurrency: options.uploadConcurrency ?? 4,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 60_000,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    maxAttempts: options.maxAttempts ?? 3,
    checksums: options.checksums ?? 'when-supported',
  };
  requireWithin('partBytes', resolved.partBytes, partMinimumBytes, partMaximumBytes);
  requireWithin('uploadConcurrency', resolved.uploadConcurrency, 1, 64);
  requireWithin('maxAttempts', resolved.maxAttempts, 1, 10);
  requireEndpoint(resolved.endpoint);
  return resolved;
}

function requireWithin(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new WalkbackError(
    'INVALID_CONFIGURATION',
    `The storage option ${name} is ${value}; it must be a whole number from ${least} to ${most}.`,
  );
}

function requireEndpoint(endpoint: string | undefined): void {
  if (endpoint === undefined || /^https?:\/\/[^/]/.test(endpoint)) return;
  throw new WalkbackError('INVALID_CONFIGURATION', `The storage endpoint ${JSON.stringify(endpoint)} is not an address.`, {
    hint: 'Write it with its scheme, for example https://s3.example.org or http://127.0.0.1:9000.',
  });
}
