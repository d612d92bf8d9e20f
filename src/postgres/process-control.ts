/** Starting and stopping a server (manual, sections 19.3 and 19.5, and pg_ctl). */
import { open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { WalkbackError } from '../domain/errors.ts';
import { makeDirectoryDurably } from '../files/durable-file.ts';
import { assertNotRetired } from './fence.ts';
import { serverProcesses, serverState, type ServerState } from './server-state.ts';

/** What to start. */
export interface StartServerOptions {
  readonly binDirectory: string;
  readonly dataDirectory: string;
  /** Standard output and error of the server, appended to; what it says before its own logging begins lands here. */
  readonly logFile: string;
  readonly timeoutMs: number;
  /**
   * `launched`: through its own start-up, sockets open; recovery may go on for hours. `accepting`: sessions are accepted, in hot standby too.
   * Default launched.
   */
  readonly until?: 'launched' | 'accepting';
  /** Over the configuration. Default: the configuration's. */
  readonly port?: number;
  /** Over the configuration. Default: the configuration's. */
  readonly socketDirectory?: string;
  /**
   * With the options of the start before this one, as `pg_ctl restart` takes them: a server whose configuration lies elsewhere (Debian's
   * /etc/postgresql) is told so by an option, and does not come up without it. Default false.
   */
  readonly asBefore?: boolean;
  /** Runs before each launch, when no process of an earlier server is left to change what it looks at. */
  readonly prepare?: () => Promise<void>;
  /** A start that is aborted leaves no server behind. */
  readonly signal?: AbortSignal;
}

/** What to stop. */
export interface StopServerOptions {
  readonly dataDirectory: string;
  /** `fast` ends sessions and writes a checkpoint; `immediate` leaves that to the next start. */
  readonly mode: 'fast' | 'immediate';
  /** Bound of the wished mode, and then of `immediate` again. */
  readonly timeoutMs: number;
}

/** How a server came to its end. */
export interface StoppedServer {
  /** `not-running`: there was nothing to stop. */
  readonly how: 'not-running' | 'fast' | 'immediate';
  /** Fast took too long, so that immediate had to follow. */
  readonly escalated: boolean;
}

const pollIntervalMs = 20;
/** After an abort: how long a start may take to show itself, so that it can be stopped. */
const abortedStartBoundMs = 10_000;
/** How long what a killed server left may keep the next one from starting. */
const leftoversBoundMs = 15_000;
const logTailBytes = 8 * 1024;
const logTailLineCount = 20;

/**
 * The whole environment of a server. Its children (archive_command, restore_command) inherit it, so nothing of ours, PG* or AWS_* may be in it.
 */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

/**
 * Starts a server by pg_ctl, in a session of its own, so that it outlives this process. One that runs on the directory already is taken as it
 * is. After a timeout the server is left running.
 * @throws WalkbackError CLUSTER_RETIRED, POSTGRES_DID_NOT_START with the last lines of its log, the reason of an aborted signal
 */
export async function startServer(options: StartServerOptions): Promise<ServerState> {
  options.signal?.throwIfAborted();
  await assertNotRetired(options.dataDirectory);
  const already = await serverState(options.dataDirectory);
  if (hasReached(already, options)) return already;
  if (already.running && already.status !== 'stopping') return await awaitState(options, () => undefined);
  await isGoneWithin(options.dataDirectory, options.timeoutMs);
  await makeDirectoryDurably(dirname(options.logFile));
  const leftoversDeadline = performance.now() + Math.min(leftoversBoundMs, options.timeoutMs);
  for (;;) {
    try {
      await assertNoLeftovers(options);
      await options.prepare?.();
      return await launchAndAwait(options);
    } catch (error) {
      if (!isHeldByLeftovers(error) || performance.now() > leftoversDeadline) throw error;
    }
    await pause(options.signal);
  }
}

/**
 * Stops a server by signals, as pg_ctl does (SIGINT is fast, SIGQUIT immediate). Nothing to do when none runs.
 * @throws WalkbackError COMMAND_FAILED when not even immediate ends it in time
 */
export async function stopServer(options: StopServerOptions): Promise<StoppedServer> {
  const { dataDirectory, mode, timeoutMs } = options;
  const { pid } = await serverState(dataDirectory);
  if (pid === undefined) return { how: 'not-running', escalated: false };
  sendSignal(pid, mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
  if (await isGoneWithin(dataDirectory, timeoutMs)) return { how: mode, escalated: false };
  sendSignal(pid, 'SIGQUIT');
  if (await isGoneWithin(dataDirectory, timeoutMs)) return { how: 'immediate', escalated: mode === 'fast' };
  throw new WalkbackError('COMMAND_FAILED', `PostgreSQL (process ${pid}) on ${dataDirectory} does not stop within ${2 * timeoutMs} ms.`, {
    hint: 'See what its processes wait for; a disk that does not answer keeps them from ending.',
    facts: { pid, dataDirectory },
  });
}

/** The last lines of a file, for a message; none when it cannot be read. */
async function lastLines(path: string): Promise<string[]> {
  try {
    const { size } = await stat(path);
    const file = await open(path, 'r');
    try {
      const length = Math.min(size, logTailBytes);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const lines = buffer.toString('utf8', 0, bytesRead).split('\n');
      return lines.filter((line) => line !== '').slice(-logTailLineCount);
    } finally {
      await file.close();
    }
  } catch {
    // The log only illustrates an error that is reported anyway.
    return [];
  }
}

async function launchAndAwait(options: StartServerOptions): Promise<ServerState> {
  const launcher = launch(options, options.asBefore === true ? await optionsBefore(options.dataDirectory) : '');
  let output: string | undefined;
  const ended = launcher.then((result) => {
    output = result.exitCode === 0 ? undefined : (result.all ?? '');
  });
  try {
    return await awaitState(options, () => output);
  } catch (error) {
    if (options.signal?.aborted === true) await stopWhatWasLaunched(options, () => output !== undefined);
    throw error;
  } finally {
    // pg_ctl only waits by now; the server does not notice.
    launcher.kill('SIGKILL');
    await ended;
  }
}

/** After kill -9 of a postmaster its children hold the shared memory, and its pid the lock file, until they are gone too. */
function isHeldByLeftovers(error: unknown): boolean {
  return error instanceof WalkbackError && /pre-existing shared memory block|lock file "postmaster.pid" already exists/.test(error.message);
}

/** Where /proc tells; elsewhere the server itself notices, by their shared memory, a moment later. */
async function assertNoLeftovers({ dataDirectory }: StartServerOptions): Promise<void> {
  const left = await serverProcesses(dataDirectory);
  if (left.length === 0) return;
  const message = `PostgreSQL on ${dataDirectory} did not start: pre-existing shared memory block is held by processes ${left.join(', ')}.`;
  throw new WalkbackError('POSTGRES_DID_NOT_START', message, { facts: { dataDirectory, left: left.map(String) } });
}

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await delay(pollIntervalMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
}

/** PostgreSQL writes how it was started: the program, and each argument in double quotes (pg_ctl.c, read_post_opts). */
async function optionsBefore(dataDirectory: string): Promise<string> {
  try {
    const line = await readFile(join(dataDirectory, 'postmaster.opts'), 'utf8');
    const first = line.indexOf(' "');
    return first === -1 ? '' : line.slice(first).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** @param before options for the server, as a shell takes them */
function launch(options: StartServerOptions, before: string) {
  const { port, socketDirectory } = options;
  const serverOptions = [
    ...(before === '' ? [] : [before]),
    ...(port === undefined ? [] : [`-p ${port}`]),
    ...(socketDirectory === undefined ? [] : [`-k ${shellQuote(socketDirectory)}`]),
  ];
  const seconds = String(Math.max(1, Math.ceil(options.timeoutMs / 1000)));
  const extra = serverOptions.length === 0 ? [] : ['-o', serverOptions.join(' ')];
  return execa(
    join(options.binDirectory, 'pg_ctl'),
    ['start', '-w', '-t', seconds, '-D', options.dataDirectory, '-l', options.logFile, ...extra],
    { reject: false, extendEnv: false, env: serverEnvironment(), stdin: 'ignore', all: true, cleanup: false },
  );
}

/** pg_ctl hands `-o` to a shell. */
function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function hasReached(state: ServerState, options: StartServerOptions): boolean {
  if (!state.running || state.status === undefined || state.status === 'stopping') return false;
  return options.until === 'accepting' ? state.status !== 'starting' : true;
}

/** @param failure what the launcher said when it failed; undefined while it has not */
async function awaitState(options: StartServerOptions, failure: () => string | undefined): Promise<ServerState> {
  const deadline = performance.now() + options.timeoutMs;
  let sawServer = false;
  for (;;) {
    const failed = failure();
    const state = await serverState(options.dataDirectory);
    if (hasReached(state, options)) return state;
    if (sawServer && !state.running) throw await didNotStart(options, 'it ended');
    if (!state.running && failed !== undefined) throw await didNotStart(options, failed.trim().split('\n').at(-1) || 'pg_ctl failed');
    if (performance.now() > deadline) throw await didNotStart(options, `not ${options.until ?? 'launched'} within ${options.timeoutMs} ms`);
    sawServer = state.running;
    await pause(options.signal);
  }
}

async function didNotStart(options: StartServerOptions, why: string): Promise<WalkbackError> {
  const log = await lastLines(options.logFile);
  // pg_ctl only says to look at the log, so the server's own last complaint is the better reason.
  const complaint = log.findLast((line) => /\b(?:FATAL|PANIC): /.test(line));
  const reason = (complaint ?? why).replace(/^.*?\b(?:FATAL|PANIC): +/, '').replace(/\.+$/, '');
  return new WalkbackError('POSTGRES_DID_NOT_START', `PostgreSQL on ${options.dataDirectory} did not start: ${reason}.`, {
    facts: { dataDirectory: options.dataDirectory, logFile: options.logFile, log },
  });
}

/** Between pg_ctl's start and postmaster.pid a server cannot be seen; stopping has to wait until it can. */
async function stopWhatWasLaunched(options: StartServerOptions, hasFailed: () => boolean): Promise<void> {
  const deadline = performance.now() + abortedStartBoundMs;
  while (!hasFailed() && performance.now() < deadline && !(await serverState(options.dataDirectory)).running) await delay(pollIntervalMs);
  await stopServer({ dataDirectory: options.dataDirectory, mode: 'immediate', timeoutMs: abortedStartBoundMs });
}

async function isGoneWithin(dataDirectory: string, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while ((await serverState(dataDirectory)).running) {
    if (performance.now() > deadline) return false;
    await delay(pollIntervalMs);
  }
  return true;
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended by itself in between.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
