/** Processes that a test run started and has not ended. Linux only; elsewhere nothing is found. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** A process as /proc shows it. */
export interface ProcessInfo {
  readonly pid: number;
  readonly commandLine: string;
}

/** How the processes of a run are known. */
export interface ProcessMark {
  /** An entry of the environment that only this run has, `NAME=value`. */
  readonly variable: string;
  /** Programs with an environment of their own, such as a postmaster, are known by working below this directory. */
  readonly directory: string;
}

/** Every live process that carries the mark, less the given ones. */
export function markedProcesses({ variable, directory }: ProcessMark, except: ReadonlySet<number>): readonly ProcessInfo[] {
  return livePids()
    .filter((pid) => !except.has(pid) && !isZombie(pid))
    .filter((pid) => environmentOf(pid).includes(variable) || worksBelow(pid, directory))
    .map((pid) => ({ pid, commandLine: read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim() }))
    .filter(({ commandLine }) => commandLine !== '');
}

/** Does a process of that id exist, other than as a zombie? */
export function isRunning(pid: number): boolean {
  return read(`/proc/${pid}/stat`) !== '' && !isZombie(pid);
}

/** Ends a process at once. One that has ended since its number was read is no error. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function livePids(): readonly number[] {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0);
  } catch {
    // No /proc: not a Linux.
    return [];
  }
}

function isZombie(pid: number): boolean {
  // The program's name stands in parentheses and may hold any character, so the state is what follows the last one.
  return /\) Z [^)]*$/.test(read(`/proc/${pid}/stat`));
}

function environmentOf(pid: number): readonly string[] {
  return read(`/proc/${pid}/environ`).split('\0');
}

function worksBelow(pid: number, directory: string): boolean {
  try {
    return `${readlinkSync(`/proc/${pid}/cwd`)}/`.startsWith(`${directory}/`);
  } catch {
    // Ended in the meantime, or somebody else's.
    return false;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Ended in the meantime, or somebody else's.
    return '';
  }
}
