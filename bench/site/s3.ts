/** One S3 server for all contestants: versitygw where it is found, else our own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import type { LocalS3 } from '../../src/demo/local-services/local-s3.ts';
import type { StorageSettings } from '../../src/storage/open-object-store.ts';
import { runCommand } from '../measure/measure.ts';
import { findProgram } from './programs.ts';

/** The server that everybody works against. */
export interface BenchS3 extends LocalS3 {
  /** For the table. */
  readonly name: string;
  readonly bucket: string;
  /** Port of the same objects over HTTPS, with a certificate of its own making; for pgBackRest, which speaks nothing else. */
  readonly tlsPort: number | undefined;
}

const bucket = 'bench';
const readyWithinMs = 10_000;
const pollMs = 20;

/** Starts it. */
export async function startBenchS3(): Promise<BenchS3> {
  const credentials = { accessKeyId: 'bench', secretAccessKey: randomUUID() };
  const versitygw = findProgram('versitygw', 'VERSITYGW_BIN');
  return versitygw === undefined ? await startOwn(credentials) : await startVersitygw(versitygw, credentials);
}

type Credentials = Exclude<StorageSettings['credentials'], undefined | (() => unknown)>;

async function startVersitygw(program: string, credentials: Credentials): Promise<BenchS3> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'bench-s3-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const objects = join(directory, 'objects');
  await mkdir(join(objects, bucket), { recursive: true });
  const env = { ...baseEnvironment(), ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey };
  const start = async (more: readonly string[]): Promise<number> => {
    const port = await freePort();
    const args = ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive', ...more, 'posix', objects];
    const child = spawn(program, args, { env, stdio: 'ignore', cwd: directory });
    stack.defer(() => endOf(child));
    await untilListening(port);
    return port;
  };
  const port = await start([]);
  const certificate = await makeCertificate(directory);
  const tlsPort = certificate === undefined ? undefined : await start(['--cert', certificate.certificate, '--key', certificate.key]);
  const owned = stack.move();
  return benchS3('versitygw', { endpoint: `http://127.0.0.1:${port}`, credentials, tlsPort, close: () => owned.disposeAsync() });
}

async function startOwn(credentials: Credentials): Promise<BenchS3> {
  const env = { ...baseEnvironment(), AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey };
  const program = fileURLToPath(new URL('s3-process.ts', import.meta.url));
  const child = spawn(process.execPath, [program, bucket], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const { endpoint } = JSON.parse(line) as { endpoint: string };
  return benchS3("walkback's own S3 server", { endpoint, credentials, tlsPort: undefined, close: () => endOf(child) });
}

interface StartedS3 {
  readonly endpoint: string;
  readonly credentials: Credentials;
  readonly tlsPort: number | undefined;
  readonly close: () => Promise<void>;
}

function benchS3(name: string, { endpoint, credentials, tlsPort, close }: StartedS3): BenchS3 {
  return {
    name,
    bucket,
    tlsPort,
    url: (prefix) => `s3://${bucket}/${prefix}`.replace(/\/+$/, ''),
    settings: { endpoint, credentials, region: 'us-east-1', forcePathStyle: true },
    environment: {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_REGION: 'us-east-1',
      AWS_ENDPOINT: endpoint,
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_S3_FORCE_PATH_STYLE: 'true',
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Undefined where openssl is missing: pgBackRest is left out then. */
async function makeCertificate(directory: string): Promise<{ readonly certificate: string; readonly key: string } | undefined> {
  const openssl = findProgram('openssl');
  if (openssl === undefined) return undefined;
  const [certificate, key] = [join(directory, 'certificate.pem'), join(directory, 'key.pem')];
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1'];
  await runCommand(openssl, [...request, '-keyout', key, '-out', certificate], { env: baseEnvironment(), cwd: directory });
  return { certificate, key };
}

/** What every program gets, and nothing of the caller's: a PGHOST or an AWS_PROFILE would change what is measured. */
export function baseEnvironment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin', HOME: tmpdir(), TMPDIR: tmpdir(), LC_ALL: 'C', TZ: 'UTC' };
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function untilListening(port: number): Promise<void> {
  for (const giveUpAtMs = Date.now() + readyWithinMs; Date.now() < giveUpAtMs; await delay(pollMs)) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
  }
  throw new Error(`nothing listens on port ${port} after ${readyWithinMs} ms`);
}
