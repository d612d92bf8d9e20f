/** Real PostgreSQL servers for tests: one initdb a major and test file, copied for each cluster. */
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll } from 'vitest';
import { quoteValue } from '../../src/postgres/configuration-file.ts';
import { type ConnectOptions, connectServer } from '../../src/postgres/connection.ts';
import { findInstallations, type PostgresInstallation } from '../../src/postgres/installations.ts';
import { startServer, stopServer } from '../../src/postgres/process-control.ts';

/** A server that belongs to one test. Disposing of it stops it and removes its files. */
export interface TestCluster extends AsyncDisposable {
  readonly installation: PostgresInstallation;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
  readonly port: number;
  /** Superuser, trusted on the socket. */
  readonly adminRole: string;
  readonly connectOptions: ConnectOptions;
  query<Row extends object>(sql: string, params?: readonly unknown[]): Promise<Row[]>;
  start(): Promise<void>;
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

/** What to create. */
export interface TestClusterOptions {
  readonly installation: PostgresInstallation;
  /** Over the harness's own. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** For the name of the temporary directory. */
  readonly name: string;
  /** A system identifier of its own; else all clusters of a test file and major share one. Default false. */
  readonly ownIdentity?: boolean;
  /** Pages carry checksums. Default: as the major's initdb has it. */
  readonly dataChecksums?: boolean;
}

export const testAdminRole = 'admin';
const startTimeoutMs = 30_000;
const stopTimeoutMs = 10_000;
const portAttempts = 5;
const repository = fileURLToPath(new URL('../..', import.meta.url));
const templates = new Map<string, Promise<string>>();
const templateDirectories: string[] = [];

// vitest ends its forks without an exit event, so each test file removes what it made.
afterAll(() => {
  templates.clear();
  for (const directory of templateDirectories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** Installations on this machine, one a major, oldest first: given ones, the distribution's, and those npm packages. */
export async function availableInstallations(): Promise<PostgresInstallation[]> {
  const given = (process.env['WALKBACK_TEST_PG_BIN'] ?? '').split(delimiter).filter((path) => path !== '');
  const packaged = [
    join(repository, '.tools/postgresql/node_modules/*/native/bin'),
    join(repository, '.tools/postgresql/*/node_modules/*/native/bin'),
  ];
  const all = await findInstallations({ explicit: given, searchDirectories: ['/usr/lib/postgresql/*/bin', ...packaged] });
  const byMajor = new Map<number, PostgresInstallation>();
  for (const installation of all) {
    if (installation.major >= 14 && installation.major <= 18 && !byMajor.has(installation.major))
      byMajor.set(installation.major, installation);
  }
  return [...byMajor.values()].sort((a, b) => a.major - b.major);
}

/** Makes a cluster and starts it. */
export async function createTestCluster(options: TestClusterOptions): Promise<TestCluster> {
  const { installation } = options;
  const template = await templateOf(installation, options);
  const directory = await mkdtemp(join(tmpdir(), `wb-${options.name.slice(0, 20)}-`));
  const dataDirectory = join(directory, 'data');
  cpSync(template, dataDirectory, { recursive: true });
  chmodSync(dataDirectory, 0o700);
  if (options.ownIdentity === true) rmSync(template, { recursive: true });
  try {
    const port = await startOnFreePort({ directory, dataDirectory, options });
    return clusterOf({ installation, directory, dataDirectory, port });
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port');
  return address.port;
}

interface StartPlace {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly options: TestClusterOptions;
}

/** Another process may take the port in between, so a failed start is tried on another. */
async function startOnFreePort({ directory, dataDirectory, options }: StartPlace): Promise<number> {
  const own = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    fsync: 'off',
    shared_buffers: '16MB',
    log_timezone: 'UTC',
  };
  const settings: Record<string, string | number> = { ...own, ...options.settings };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoteValue(value.toString())}\n`);
  await appendFile(join(dataDirectory, 'postgresql.conf'), lines.join(''));
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    await appendFile(join(dataDirectory, 'postgresql.conf'), `port = ${port}\n`);
    try {
      await startServer(startOptions(options.installation, dataDirectory));
      return port;
    } catch (error) {
      if (attempt === portAttempts) throw error;
    }
  }
}

function startOptions(installation: PostgresInstallation, dataDirectory: string) {
  const { binDirectory } = installation;
  return {
    binDirectory,
    dataDirectory,
    logFile: join(dataDirectory, '../server.log'),
    timeoutMs: startTimeoutMs,
    until: 'accepting',
  } as const;
}

interface ClusterPlace {
  readonly installation: PostgresInstallation;
  readonly directory: string;
  readonly dataDirectory: string;
  readonly port: number;
}

function clusterOf({ installation, directory, dataDirectory, port }: ClusterPlace): TestCluster {
  const connectOptions = { host: directory, port, user: testAdminRole, database: 'postgres' };
  const stop = async (mode: 'fast' | 'immediate' = 'fast') => {
    await stopServer({ dataDirectory, mode, timeoutMs: stopTimeoutMs });
  };
  return {
    installation,
    dataDirectory,
    socketDirectory: directory,
    port,
    adminRole: testAdminRole,
    connectOptions,
    query: async (sql, params) => {
      await using connection = await connectServer(connectOptions);
      return await connection.query(sql, params);
    },
    start: async () => {
      await startServer(startOptions(installation, dataDirectory));
    },
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop('immediate');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function templateOf(installation: PostgresInstallation, options: TestClusterOptions): Promise<string> {
  const extra = options.dataChecksums === true ? ['--data-checksums'] : [];
  if (options.ownIdentity === true) return await initializeTemplate(installation, extra);
  const key = [installation.binDirectory, ...extra].join(' ');
  const known = templates.get(key) ?? initializeTemplate(installation, extra);
  templates.set(key, known);
  return await known;
}

async function initializeTemplate(installation: PostgresInstallation, extra: readonly string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), `wb-template-${installation.major}-`));
  templateDirectories.push(directory);
  await execa(
    join(installation.binDirectory, 'initdb'),
    ['-D', directory, '-U', testAdminRole, '-N', '--locale=C', '-E', 'UTF8', '--auth-local=trust', '--auth-host=scram-sha-256', ...extra],
    { extendEnv: false, env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' } },
  );
  return directory;
}
