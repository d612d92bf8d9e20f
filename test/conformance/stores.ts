/** The stores that the conformance suite finds, and what each cannot do. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import type { StorageSettings } from '../../src/storage/open-object-store.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { givenS3, startTestS3 } from '../harness/s3.ts';

/** What a store is known not to do; the suite skips the cases, and names them. */
interface Limits {
  /** Paths of a file system: no key `k` beside `k/child`. */
  readonly hierarchical?: true;
  /** No credentials that could be wrong. */
  readonly open?: true;
}

/** A store under test. */
export interface StoreUnderTest extends AsyncDisposable {
  /** Opens the store with another prefix below the test's own, or with other settings. */
  open(prefix: string, settings?: Partial<StorageSettings>): ObjectStore;
  /** The same endpoint with a bucket that is not there. */
  openMissingBucket(): ObjectStore;
  /** What a store without a network or a directory behind it looks like. */
  openUnreachable(): ObjectStore;
}

/** A kind of store: absent ones say why. */
export interface StoreKind {
  readonly name: string;
  readonly limits: Limits;
  readonly missing?: string;
  start(): Promise<StoreUnderTest>;
}

const readyWithinMs = 10_000;
const pollMs = 20;

export const storeKinds: readonly StoreKind[] = [
  { name: 'a directory', limits: { hierarchical: true, open: true }, start: startDirectory },
  { name: 'our strict S3 server', limits: {}, start: startStrictServer },
  {
    name: 'versitygw',
    limits: { hierarchical: true },
    start: startVersitygw,
    ...missing(findVersitygw(), 'set VERSITYGW_BIN or put versitygw on PATH'),
  },
  { name: 'the given endpoint', limits: {}, start: startGiven, ...missing(givenS3(process.env)?.url, 'set WALKBACK_TEST_S3_URL') },
];

function missing(found: string | undefined, remedy: string): { readonly missing?: string } {
  return found === undefined ? { missing: remedy } : {};
}

async function startDirectory(): Promise<StoreUnderTest> {
  const root = await mkdtemp(join(tmpdir(), 'walkback-store-'));
  await mkdir(join(root, 'stores'));
  return {
    open: () => openObjectStore(`file://${root}/stores`, {}),
    openMissingBucket: () => openObjectStore(`file://${root}/not-there`, {}),
    openUnreachable: () => openObjectStore(`file://${root}/not-mounted`, {}),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

async function startStrictServer(): Promise<StoreUnderTest> {
  const s3 = await startTestS3();
  return underTest(s3.url(''), s3.settings, () => s3.close());
}

async function startGiven(): Promise<StoreUnderTest> {
  const given = givenS3(process.env);
  if (given === undefined) throw new Error('WALKBACK_TEST_S3_URL is not set');
  return underTest(`${given.url}/${process.pid}-${Date.now()}`, given.settings, async () => undefined);
}

async function startVersitygw(): Promise<StoreUnderTest> {
  const root = await mkdtemp(join(tmpdir(), 'walkback-versitygw-'));
  await mkdir(join(root, 'bucket'));
  const port = await freePort();
  const credentials = { accessKeyId: 'walkback-test', secretAccessKey: 'walkback-secret' };
  const gateway = spawn(findVersitygw() ?? '', ['--port', `127.0.0.1:${port}`, 'posix', root], {
    env: { ...process.env, ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey },
    stdio: 'ignore',
  });
  await untilListening(port);
  return underTest('s3://bucket/conformance', { endpoint: `http://127.0.0.1:${port}`, credentials }, async () => {
    gateway.kill();
    await once(gateway, 'exit');
    await rm(root, { recursive: true, force: true });
  });
}

function underTest(url: string, settings: StorageSettings, stop: () => Promise<void>): StoreUnderTest {
  return {
    open: (prefix, other) => openObjectStore(`${url}/${prefix}`, { ...settings, ...other }),
    openMissingBucket: () => openObjectStore('s3://no-such-bucket-here/x', settings),
    openUnreachable: () => openObjectStore(`${url}/x`, { ...settings, endpoint: 'http://127.0.0.1:1', maxAttempts: 1 }),
    [Symbol.asyncDispose]: stop,
  };
}

function findVersitygw(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'versitygw'));
  return [process.env['VERSITYGW_BIN'] ?? '', ...onPath].find((path) => path !== '' && isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function untilListening(port: number): Promise<void> {
  const giveUpAtMs = Date.now() + readyWithinMs;
  while (Date.now() < giveUpAtMs) {
    const socket = createConnection(port, '127.0.0.1');
    const [event] = await Promise.race([
      once(socket, 'connect').then(() => ['connect']),
      once(socket, 'error').then(() => ['error']),
    ]).catch(() => ['error']);
    socket.destroy();
    if (event === 'connect') return;
    await sleep(pollMs);
  }
  throw new Error(`nothing listens on port ${port} after ${readyWithinMs} ms`);
}
