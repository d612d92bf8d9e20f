/** What the kernel says of the processes of this machine (proc(5), /proc/PID/stat). */
import { readdirSync, readFileSync } from 'node:fs';

/** One process. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parentPid: number;
  /** Name of the program, at most 15 characters. */
  readonly name: string;
  /** User and system time of its own. */
  readonly cpuSeconds: number;
  /** The same of its children that ended and were waited for, and of theirs. */
  readonly childrenCpuSeconds: number;
  readonly residentBytes: number;
}

/** Linux counts in hundredths of a second for programs, whatever the kernel's own tick (proc(5), sysconf(_SC_CLK_TCK)). */
const ticksPerSecond = 100;
const pageBytes = 4096;

/** Every process, by its id. */
export function readProcessTable(): ReadonlyMap<number, ProcessEntry> {
  const table = new Map<number, ProcessEntry>();
  for (const name of readdirSync('/proc')) {
    const entry = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    if (entry !== undefined) table.set(entry.pid, entry);
  }
  return table;
}

/** Undefined when there is no such process any more. */
export function readProcess(pid: number): ProcessEntry | undefined {
  const text = readOrNothing(`/proc/${pid}/stat`);
  if (text === '') return undefined;
  // The name stands in parentheses and may hold anything, parentheses too.
  const nameEnd = text.lastIndexOf(')');
  const fields = text
    .slice(nameEnd + 2)
    .split(' ')
    .map(Number);
  // Field 3 of the manual, the state, is the first here.
  const field = (number: number): number => fields[number - 3] ?? 0;
  return {
    pid,
    parentPid: field(4),
    name: text.slice(text.indexOf('(') + 1, nameEnd),
    cpuSeconds: (field(14) + field(15)) / ticksPerSecond,
    childrenCpuSeconds: (field(16) + field(17)) / ticksPerSecond,
    residentBytes: field(24) * pageBytes,
  };
}

/** Does the command line or the environment of the process hold the text? That tells our programs from those of others. */
export function mentions(pid: number, text: string): boolean {
  return readOrNothing(`/proc/${pid}/cmdline`).includes(text) || readOrNothing(`/proc/${pid}/environ`).includes(text);
}

/** The processes and all that descend from them. */
export function withDescendants(table: ReadonlyMap<number, ProcessEntry>, roots: readonly number[]): ReadonlySet<number> {
  const found = new Set(roots.filter((pid) => table.has(pid)));
  for (let sizeBefore = -1; sizeBefore !== found.size;) {
    sizeBefore = found.size;
    for (const { pid, parentPid } of table.values()) if (found.has(parentPid)) found.add(pid);
  }
  return found;
}

/** A process may end between being listed and being read, and the files of other users' are closed. */
function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
