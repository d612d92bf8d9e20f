/** Does a server run on a data directory? Read from postmaster.pid (src/include/utils/pidfile.h) and checked against the processes. */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { join } from 'node:path';

/** What postmaster.pid says in its eighth line. `standby`: recovery goes on and read-only sessions are accepted. */
export type PostmasterStatus = 'starting' | 'stopping' | 'ready' | 'standby';

/** The server of a data directory. */
export interface ServerState {
  readonly running: boolean;
  readonly pid: number | undefined;
  /** Undefined until the server has got through its own start-up. */
  readonly status: PostmasterStatus | undefined;
  readonly port: number | undefined;
  readonly socketDirectory: string | undefined;
}

const notRunning: ServerState = { running: false, pid: undefined, status: undefined, port: undefined, socketDirectory: undefined };
const statuses: readonly PostmasterStatus[] = ['starting', 'stopping', 'ready', 'standby'];
const processNames: ReadonlySet<string> = new Set(['postgres', 'postmaster']);

/** Looks. A postmaster.pid left by a server that was killed, or whose pid another program has now, counts as not running. */
export async function serverState(dataDirectory: string): Promise<ServerState> {
  const lines = (await textOf(join(dataDirectory, 'postmaster.pid')))?.split('\n') ?? [];
  const pid = Math.abs(Number.parseInt(lines[0] ?? '', 10));
  if (!Number.isInteger(pid) || pid === 0 || !(await isServerOf(pid, dataDirectory))) return notRunning;
  const port = Number.parseInt(lines[3] ?? '', 10);
  return {
    running: true,
    pid,
    status: statuses.find((status) => status === lines[7]?.trim()),
    port: Number.isInteger(port) ? port : undefined,
    socketDirectory: lines[4]?.trim() || undefined,
  };
}

/** Processes of a server on the directory, its postmaster or what a killed one left; none where there is no /proc to tell. */
export async function serverProcesses(dataDirectory: string): Promise<number[]> {
  // A server that was shut down has taken its lock file away; only one that was killed may have left something.
  if (process.platform !== 'linux' || (await textOf(join(dataDirectory, 'postmaster.pid'))) === undefined) return [];
  const pids = (await readdir('/proc')).map(Number).filter((pid) => Number.isInteger(pid));
  const found = await Promise.all(pids.map(async (pid) => ((await worksIn(pid, dataDirectory)) ? [pid] : [])));
  return found.flat();
}

async function worksIn(pid: number, dataDirectory: string): Promise<boolean> {
  try {
    if ((await readlink(`/proc/${pid}/cwd`)) !== (await realpath(dataDirectory))) return false;
    return processNames.has((await textOf(`/proc/${pid}/comm`))?.trim() ?? '');
  } catch {
    // Another user's, or one that has ended.
    return false;
  }
}

async function isServerOf(pid: number, dataDirectory: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  // Elsewhere than on Linux the pid alone has to do, as it does for pg_ctl.
  if (process.platform !== 'linux') return true;
  try {
    // The postmaster changes into its data directory; of a zombie the link cannot be read.
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(dataDirectory));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Another user's process hides its directory; its name still tells.
    if (code !== 'EACCES' && code !== 'EPERM') return false;
    return processNames.has((await textOf(`/proc/${pid}/comm`))?.trim() ?? '');
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH') return undefined;
    throw error;
  }
}
