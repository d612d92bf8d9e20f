/** Everything the story needs, for real, on one machine: Temporal, S3, PostgreSQL, and our worker and agent as processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { stringify } from 'yaml';
import { allEnded } from '../archive/parallel.ts';
import { createWalkbackClient, type WalkbackClient } from '../client/walkback-client.ts';
import { WalkbackError } from '../domain/errors.ts';
import { searchAttributeTypes } from '../domain/search-attributes.ts';
import type { ConnectOptions } from '../postgres/connection.ts';
import { startServer, stopServer } from '../postgres/process-control.ts';
import { findPostgresInstallations, type PostgresInstallation } from './local-services/find-tools.ts';
import { freePort } from './local-services/free-port.ts';
import { type LocalS3, startLocalS3 } from './local-services/local-s3.ts';
import { startTemporalDevServer, type TemporalDevServer } from './local-services/temporal-server.ts';

/** What may be chosen. */
export interface DemoSiteOptions {
  /** Default: the first that is found. */
  readonly installation?: PostgresInstallation;
  /** Default true. */
  readonly withUi?: boolean;
  /** Settings of the source's postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The source verifies its pages (initdb --data-checksums). Default: as initdb does without being told. */
  readonly pageChecksums?: boolean;
  /** Variables of the worker and the agent: options of walkback.yaml that are not the site's own. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Archives of clusters that do not run, by their names, as URLs. */
  readonly archives?: Readonly<Record<string, string>>;
  /** Installations beside the source's, for restores of other majors. */
  readonly otherInstallations?: readonly PostgresInstallation[];
  /** Default: the endpoint that the environment names, else one of the site's own. */
  readonly startS3?: () => Promise<LocalS3>;
  /** Default: a dev server that forgets everything when it ends. */
  readonly startTemporal?: () => Promise<TemporalDevServer>;
  /** The main file of the worker and the agent. Default: the one beside this file. */
  readonly program?: string;
  readonly signal?: AbortSignal;
}

/** A process of ours: a worker or an agent. */
export interface DemoProcess {
  readonly child: ChildProcess;
  readonly logFile: string;
  /** Ends it, by SIGTERM unless said otherwise, and waits. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** A running site. */
export interface DemoSite extends AsyncDisposable {
  readonly directory: string;
  readonly installation: PostgresInstallation;
  readonly temporal: TemporalDevServer;
  readonly s3: LocalS3;
  readonly client: WalkbackClient;
  /** walkback.yaml of the site. */
  readonly configFile: string;
  /** Environment of the site's processes, with credentials. */
  readonly environment: Readonly<Record<string, string>>;
  readonly source: { readonly name: string; readonly dataDirectory: string; readonly server: ConnectOptions };
  readonly worker: DemoProcess;
  readonly agent: DemoProcess;
  /**
   * Starts another worker or agent, after one was stopped or killed, with variables over those of the site.
   * @param program the main file of another version. Default: the site's
   */
  start(name: 'worker' | 'agent', environment?: Readonly<Record<string, string>>, program?: string): Promise<DemoProcess>;
  /** Data directories to stop servers on when the site is closed. */
  readonly restored: string[];
}

/** Name of the source, and its host. */
export const demoCluster = 'shop';
export const demoHost = 'demo-host';
/** Superuser of the source; clients never log in as it. */
export const demoAdmin = 'postgres';

const startTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;

/** Starts everything. What was started is stopped again when a later part does not start. */
export async function startDemoSite(options: DemoSiteOptions = {}): Promise<DemoSite> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'walkback-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const installation = options.installation ?? (await preferredInstallation());
  const startTemporal = () =>
    startTemporalDevServer({ searchAttributes: searchAttributeTypes, ...(options.withUi === false ? { uiPort: false } : {}) });
  const dataDirectory = join(directory, demoCluster);
  const restored: string[] = [];
  stack.defer(() => stopServers([dataDirectory, ...restored]));
  // What still starts while the site is taken down would write into a directory that was removed already, and nobody would stop it.
  const [temporal, s3, source] = await allEnded([
    (options.startTemporal ?? startTemporal)().then((server) => stack.use(server)),
    (options.startS3 ?? startLocalS3)().then((server) => stack.use(server)),
    startSource({
      directory,
      dataDirectory,
      installation,
      settings: options.settings ?? {},
      pageChecksums: options.pageChecksums === true,
    }),
  ]);
  const configFile = await writeConfiguration({ directory, installation, s3, source, options });
  const environment = { ...options.environment, ...s3.environment, TEMPORAL_ADDRESS: temporal.address, WALKBACK_CONFIG: configFile };
  const processes = new Map<string, DemoProcess>();
  stack.defer(async () => void (await Promise.all([...processes.values()].map((running) => running.stop()))));
  const start = async (
    name: 'worker' | 'agent',
    more: Readonly<Record<string, string>> = {},
    program = options.program ?? ownProgram(),
  ) => {
    const started = await startProcess(name, { directory, environment: { ...environment, ...more }, program });
    processes.set(name, started);
    return started;
  };
  const [worker, agent] = await allEnded([start('worker'), start('agent')]);
  const client = stack.use(await createWalkbackClient({ address: temporal.address }));
  options.signal?.throwIfAborted();
  const owned = stack.move();
  return {
    directory,
    installation,
    temporal,
    s3,
    client,
    configFile,
    environment,
    source,
    worker,
    agent,
    start,
    restored,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function preferredInstallation(): Promise<PostgresInstallation> {
  const [first] = await findPostgresInstallations(process.env);
  if (first === undefined) throw new WalkbackError('POSTGRES_NOT_FOUND', 'No PostgreSQL server is on this machine.');
  return first;
}

interface SourcePlace {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly installation: PostgresInstallation;
  readonly settings: Readonly<Record<string, string>>;
  readonly pageChecksums: boolean;
}

/** A fresh cluster that writes nothing by itself, so that the story's second restore meets an idle source. */
async function startSource(place: SourcePlace): Promise<DemoSite['source']> {
  const { directory, dataDirectory, installation, settings, pageChecksums } = place;
  const initdb = [
    '-D',
    dataDirectory,
    '-U',
    demoAdmin,
    '-N',
    '--locale=C',
    '-E',
    'UTF8',
    '--auth-local=trust',
    '--auth-host=scram-sha-256',
    ...(pageChecksums ? ['--data-checksums'] : []),
  ];
  await execa(join(installation.binDirectory, 'initdb'), initdb, {
    extendEnv: false,
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' },
  });
  const port = await freePort();
  const own = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: directory,
    shared_buffers: '32MB',
    autovacuum: 'off',
    password_encryption: 'scram-sha-256',
    ...settings,
  };
  const lines = Object.entries(own).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
  await appendFile(join(dataDirectory, 'postgresql.conf'), lines.join(''));
  await startServer({
    binDirectory: installation.binDirectory,
    dataDirectory,
    logFile: join(directory, 'shop.log'),
    timeoutMs: startTimeoutMs,
    until: 'accepting',
  });
  return { name: demoCluster, dataDirectory, server: { host: directory, port, user: demoAdmin, database: 'postgres' } };
}

async function stopServers(dataDirectories: readonly string[]): Promise<void> {
  for (const dataDirectory of dataDirectories) await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: stopTimeoutMs });
}

interface SiteParts {
  readonly directory: string;
  readonly installation: PostgresInstallation;
  readonly s3: LocalS3;
  readonly source: DemoSite['source'];
  readonly options: DemoSiteOptions;
}

async function writeConfiguration({ directory, installation, s3, source, options }: SiteParts): Promise<string> {
  const configFile = join(directory, 'walkback.yaml');
  const stateDirectory = join(directory, 'agent');
  await mkdir(stateDirectory, { mode: 0o700 });
  const { endpoint, region } = s3.settings;
  const binDirectories = [installation, ...(options.otherInstallations ?? [])].map(({ binDirectory }) => binDirectory);
  const absent = Object.entries(options.archives ?? {}).map(([name, archive]) => [
    name,
    { archive, data_directory: join(directory, 'gone', name), user: demoAdmin },
  ]);
  const configuration = {
    host: { id: demoHost, state_directory: stateDirectory, postgres_bin_directories: binDirectories },
    storage: {
      prefix: s3.url(''),
      ...(endpoint === undefined ? {} : { endpoint, force_path_style: true }),
      ...(region === undefined ? {} : { region }),
    },
    clusters: {
      [source.name]: { data_directory: source.dataDirectory, socket_directory: directory, port: source.server.port, user: demoAdmin },
      ...Object.fromEntries(absent),
    },
  };
  await writeFile(configFile, stringify(configuration));
  return configFile;
}

function ownProgram(): string {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return fileURLToPath(new URL(`../cli/main.${extension}`, import.meta.url));
}

async function startProcess(
  name: 'worker' | 'agent',
  site: { readonly directory: string; readonly environment: Readonly<Record<string, string>>; readonly program: string },
): Promise<DemoProcess> {
  const logFile = join(site.directory, `${name}.log`);
  const log = createWriteStream(logFile, { flags: 'a' });
  const child = spawn(process.execPath, [site.program, name], {
    cwd: site.directory,
    env: { ...process.env, ...site.environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve());
  });
  const killWithUs = () => void child.kill('SIGKILL');
  process.once('exit', killWithUs);
  void ended.then(() => process.off('exit', killWithUs));
  await untilReady({ child, name, log, ended });
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    const forced = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await ended;
    clearTimeout(forced);
  };
  return { child, logFile, stop };
}

const outputKeptMaximumLength = 4000;

async function untilReady({
  child,
  name,
  log,
  ended,
}: {
  child: ChildProcess;
  name: string;
  log: NodeJS.WritableStream;
  ended: Promise<void>;
}): Promise<void> {
  let said = '';
  const { promise, resolve } = Promise.withResolvers<'ready'>();
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log.write(text);
    said = (said + text).slice(-outputKeptMaximumLength);
    if (said.includes(`walkback ${name} is ready`)) resolve('ready');
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const outcome = await Promise.race([promise, ended.then(() => 'ended' as const)]);
  clearTimeout(timer);
  if (outcome === 'ended') throw new WalkbackError('COMMAND_FAILED', `The ${name} did not start: ${said.trim()}`);
}
