/** An S3 endpoint on this machine: the one that the environment names, else a strict server of our own. */
import { randomUUID } from 'node:crypto';
import type { StorageSettings } from '../../storage/open-object-store.ts';
import { type S3Server, startS3Server } from '../s3-server/s3-server.ts';
import type { Environment } from './find-tools.ts';

/** What the demo and the tests work against. */
export interface LocalS3 extends AsyncDisposable {
  /** The storage URL of a prefix that no other run uses. */
  url(prefix: string): string;
  readonly settings: StorageSettings;
  /** For child processes, `wal-g` among them: AWS_* variables with the endpoint. */
  readonly environment: Readonly<Record<string, string>>;
  /** Absent when the endpoint was given. */
  readonly server?: S3Server;
  close(): Promise<void>;
}

/** WALKBACK_TEST_S3_URL (`s3://bucket/prefix`) with _ENDPOINT, _REGION, _ACCESS_KEY_ID, _SECRET_ACCESS_KEY beside it. */
export function givenS3(environment: Environment): { readonly url: string; readonly settings: StorageSettings } | undefined {
  const given = (name: string): string | undefined => environment[`WALKBACK_TEST_S3_${name}`];
  const url = given('URL');
  if (url === undefined || url === '') return undefined;
  const accessKeyId = given('ACCESS_KEY_ID');
  const secretAccessKey = given('SECRET_ACCESS_KEY');
  const endpoint = given('ENDPOINT');
  const region = given('REGION');
  return {
    url: url.replace(/\/+$/, ''),
    settings: {
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      ...(region === undefined ? {} : { region }),
      ...(accessKeyId === undefined || secretAccessKey === undefined ? {} : { credentials: { accessKeyId, secretAccessKey } }),
    },
  };
}

/** Starts or finds an endpoint. */
export async function startLocalS3(environment: Environment = process.env): Promise<LocalS3> {
  const given = givenS3(environment);
  if (given !== undefined) return localS3(given.url, given.settings, undefined);
  const credentials = { accessKeyId: 'walkback-local', secretAccessKey: `secret-${randomUUID()}` };
  const server = await startS3Server({ ...credentials, buckets: ['walkback'] });
  return localS3('s3://walkback', { endpoint: server.endpoint, region: 'us-east-1', forcePathStyle: true, credentials }, server);
}

function localS3(root: string, settings: StorageSettings, server: S3Server | undefined): LocalS3 {
  const run = randomUUID();
  const close = async (): Promise<void> => server?.close();
  return {
    url: (prefix) => `${root}/${run}/${prefix}`.replace(/\/+$/, ''),
    settings,
    environment: environmentOf(settings),
    ...(server === undefined ? {} : { server }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function environmentOf(settings: StorageSettings): Record<string, string> {
  const fixed = typeof settings.credentials === 'object' ? settings.credentials : undefined;
  return {
    AWS_REGION: settings.region ?? 'us-east-1',
    AWS_EC2_METADATA_DISABLED: 'true',
    ...(settings.endpoint === undefined
      ? {}
      : { AWS_ENDPOINT: settings.endpoint, AWS_ENDPOINT_URL_S3: settings.endpoint, AWS_S3_FORCE_PATH_STYLE: 'true' }),
    ...(fixed === undefined ? {} : { AWS_ACCESS_KEY_ID: fixed.accessKeyId, AWS_SECRET_ACCESS_KEY: fixed.secretAccessKey }),
  };
}
