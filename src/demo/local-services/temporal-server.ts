/** A real Temporal server for one machine: `temporal server start-dev` on free loopback ports. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Connection } from '@temporalio/client';
import type { SearchAttributeType } from '@temporalio/common';
import { WalkbackError, messageOf } from '../../domain/errors.ts';
import { findTemporalExecutable } from './find-tools.ts';
import { freePort } from './free-port.ts';
import { startSdkDevServer } from './sdk-dev-server.ts';

/** How the server is started. */
export interface TemporalDevServerOptions {
  /** The Temporal CLI. Default: the one that `findTemporalExecutable` finds, else the SDK's own download. */
  readonly executable?: string;
  /** A port for the web UI, or false for no UI. Default: a free port. */
  readonly uiPort?: number | false;
  /** Where it listens. Default: a free port. */
  readonly port?: number;
  /** Search attributes to register, name to type. */
  readonly searchAttributes: Readonly<Record<string, SearchAttributeType>>;
  /** Keeps workflows over restarts. Default: in memory. */
  readonly databaseFile?: string;
  /** Told every line the server writes. */
  readonly log?: (line: string) => void;
}

/** A running server. Closing it twice is one close. */
export interface TemporalDevServer extends AsyncDisposable {
  /** Host and port of the gRPC endpoint. */
  readonly address: string;
  /** Undefined without a UI. */
  readonly uiUrl: string | undefined;
  readonly namespace: string;
  /** Undefined when the SDK started the process and does not tell. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

/** Where a server shall listen. */
export interface DevServerPorts {
  readonly port: number;
  readonly uiPort: number | false;
}

const namespace = 'default';
/** The CLI's words for the SDK's types. */
const cliTypes: Readonly<Record<SearchAttributeType, string>> = {
  TEXT: 'Text',
  KEYWORD: 'Keyword',
  INT: 'Int',
  DOUBLE: 'Double',
  BOOL: 'Bool',
  DATETIME: 'Datetime',
  KEYWORD_LIST: 'KeywordList',
};
/** Another process may take a port between our look and the server's bind. */
const startAttemptCount = 3;
const startTimeoutMs = 20_000;
const connectTimeoutMs = 2000;
const healthPollMs = 50;
const stopGraceMs = 5000;
const helpTimeoutMs = 10_000;
/** Enough to hold the reason when the server ends by itself. */
const keptLineCount = 30;

/**
 * Starts a server and resolves when its namespace answers.
 *
 * @throws WalkbackError COMMAND_FAILED with the server's last lines when it does not come up.
 */
export async function startTemporalDevServer(options: TemporalDevServerOptions): Promise<TemporalDevServer> {
  const executable = options.executable ?? (await findTemporalExecutable(process.env));
  for (let attempt = 1; ; attempt++) {
    const ports = { port: options.port ?? (await freePort()), uiPort: options.uiPort ?? (await freePort()) };
    try {
      return executable === undefined
        ? await startSdkDevServer(ports, devServerArguments(options))
        : await start(executable, ports, options);
    } catch (error) {
      if (attempt === startAttemptCount || !/address already in use|can't .*port/i.test(messageOf(error))) throw error;
    }
  }
}

/** The arguments that say how the server works, without those that say where it listens. */
function devServerArguments({ searchAttributes, databaseFile }: TemporalDevServerOptions): readonly string[] {
  return [
    // Timers would else be up to a second late, and a demo or test consists of short ones.
    '--dynamic-config-value',
    'history.timerProcessorMaxTimeShift="10ms"',
    ...Object.entries(searchAttributes).flatMap(([name, type]) => ['--search-attribute', `${name}=${cliTypes[type]}`]),
    ...(databaseFile === undefined ? [] : ['--db-filename', databaseFile]),
  ];
}

function listenArguments({ port, uiPort }: DevServerPorts, newsFlag: readonly string[]): readonly string[] {
  const ui = uiPort === false ? ['--headless'] : ['--ui-port', String(uiPort), ...newsFlag];
  return ['--ip', '127.0.0.1', '--port', String(port), ...ui];
}

async function start(executable: string, ports: DevServerPorts, options: TemporalDevServerOptions): Promise<TemporalDevServer> {
  const newsFlag = ports.uiPort === false ? [] : await newsFlagOf(executable);
  const directory = await mkdtemp(join(tmpdir(), 'temporal-'));
  const args = ['server', 'start-dev', '--log-level', 'warn', ...listenArguments(ports, newsFlag), ...devServerArguments(options)];
  const child = spawn(executable, args, { cwd: directory, env: serverEnvironment(directory), stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = endOf(child);
  const killWithUs = (): void => void child.kill('SIGKILL');
  process.once('exit', killWithUs);
  const close = onlyOnce(async () => {
    await stop(child, ended);
    process.off('exit', killWithUs);
    await rm(directory, { recursive: true, force: true });
  });
  try {
    const address = `127.0.0.1:${ports.port}`;
    await untilHealthy(address, ended, keepLines(child, options.log));
    const uiUrl = ports.uiPort === false ? undefined : `http://127.0.0.1:${ports.uiPort}`;
    return { address, uiUrl, namespace, pid: child.pid, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Keeps the UI from asking the network for news, where the CLI knows how. */
async function newsFlagOf(executable: string): Promise<readonly string[]> {
  const flag = '--ui-disable-news-fetch';
  try {
    const { stdout } = await promisify(execFile)(executable, ['server', 'start-dev', '--help'], { timeout: helpTimeoutMs });
    return stdout.includes(flag) ? [flag] : [];
  } catch (error) {
    throw new WalkbackError('COMMAND_FAILED', `${executable} is no Temporal CLI that can start a server: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** The server's own home, so that it neither reads nor leaves anything in the user's; no address, key or profile of the user's either. */
function serverEnvironment(directory: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return { ...Object.fromEntries(kept), HOME: directory, XDG_CONFIG_HOME: directory };
}

/** How the process ended, in words; never rejects. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
}

/** The last lines that the server has written, a live list. */
function keepLines(child: ChildProcess, log: ((line: string) => void) | undefined): readonly string[] {
  const kept: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      kept.push(line);
      if (kept.length > keptLineCount) kept.shift();
      log?.(line);
    });
  }
  return kept;
}

async function untilHealthy(address: string, ended: Promise<string>, lines: readonly string[]): Promise<void> {
  const failed = (reason: string): WalkbackError =>
    new WalkbackError('COMMAND_FAILED', `The Temporal dev server on ${address} did not come up: ${reason}\n${lines.join('\n')}`);
  let end: string | undefined;
  void ended.then((reason) => (end = reason));
  const deadlineMs = Date.now() + startTimeoutMs;
  while (!(await answers(address))) {
    if (end !== undefined) throw failed(end);
    if (Date.now() > deadlineMs) throw failed(`no answer after ${startTimeoutMs / 1000} s`);
    await wait(healthPollMs);
  }
}

/**
 * Does the namespace answer? A listening port alone says little: the namespace is registered some time later. It is asked for first all
 * the same, because a gRPC connection that was refused once tries again only a second later.
 */
async function answers(address: string): Promise<boolean> {
  if (!(await isListening(address))) return false;
  try {
    const connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs });
    try {
      await connection.withDeadline(Date.now() + connectTimeoutMs, () => connection.workflowService.describeNamespace({ namespace }));
      return true;
    } finally {
      await connection.close();
    }
  } catch {
    // Not yet: the caller asks again until its deadline, and then shows the server's own lines, which say more than this error.
    return false;
  }
}

function isListening(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    const settle = (listening: boolean) => (): void => {
      socket.destroy();
      resolve(listening);
    };
    socket.once('connect', settle(true));
    socket.once('error', settle(false));
  });
}

async function stop(child: ChildProcess, ended: Promise<string>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopGraceMs);
  await ended;
  clearTimeout(timer);
}

function onlyOnce(work: () => Promise<void>): () => Promise<void> {
  let done: Promise<void> | undefined;
  return () => (done ??= work());
}
