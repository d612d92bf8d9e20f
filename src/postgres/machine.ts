/** What is known of the machine that PostgreSQL runs on. */
import { readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { askedOnce } from './program-answers.ts';

/** What PostgreSQL shares with every process of the machine. */
export interface Machine {
  /** In Node's word: `x64`, `arm64`. */
  readonly architecture: string;
  /** `2.36`; null where the C library is another. */
  readonly glibcVersion: string | null;
  /** All memory that this process may use: the machine's, or its control group's limit. */
  readonly memoryBytes: number;
  readonly freeMemoryBytes: number;
  /** Huge pages that nobody uses; null where the system does not tell. */
  readonly freeHugePages: { readonly count: number; readonly pageBytes: number } | null;
  /** Processes that this user may have at a time; null for no limit, or where the system does not tell. */
  readonly processesMaximum: number | null;
}

const linkedLibrariesTimeoutMs = 10_000;
/** Installations whose libraries are remembered. */
const linkedProgramsMaximum = 16;

/** Looks at this machine. */
export async function inspectMachine(): Promise<Machine> {
  const [memory, limits] = await Promise.all([textOrEmpty('/proc/meminfo'), textOrEmpty('/proc/self/limits')]);
  // Node says 0 or a number beyond every memory where there is no limit.
  const limitBytes = process.constrainedMemory();
  const memoryBytes = limitBytes > 0 ? Math.min(limitBytes, totalmem()) : totalmem();
  return {
    architecture: process.arch,
    glibcVersion: glibcVersion(),
    memoryBytes,
    freeMemoryBytes: Math.min(availableBytesIn(memory) ?? freemem(), memoryBytes),
    freeHugePages: hugePagesIn(memory),
    processesMaximum: processesIn(limits),
  };
}

let knownGlibcVersion: string | null | undefined;

/** Version of the C library that this process runs on, which is that of every program beside it; null where it is not glibc. */
export function glibcVersion(): string | null {
  if (knownGlibcVersion !== undefined) return knownGlibcVersion;
  const report: typeof process.report & { excludeNetwork?: boolean } = process.report;
  // Without this, the report looks up the names of all open connections, and everything waits for it.
  report.excludeNetwork = true;
  const { header } = report.getReport() as { readonly header?: { readonly glibcVersionRuntime?: string } };
  knownGlibcVersion = header?.glibcVersionRuntime ?? null;
  return knownGlibcVersion;
}

/** Major version of the ICU that the server's program is linked with; null for none, or where `ldd` does not tell. */
export async function linkedIcuMajor(binDirectory: string): Promise<number | null> {
  const linked = await linkedLibraries(join(binDirectory, 'postgres'));
  const [, major] = /libicui18n\.so\.(\d+)/.exec(linked ?? '') ?? [];
  return major === undefined ? null : Number(major);
}

/** The names stand in the program; only where they are found may change while it stays. */
const linkedLibraries = askedOnce(async (program) => {
  const run = await execa('ldd', [program], { reject: false, timeout: linkedLibrariesTimeoutMs, stdin: 'ignore' });
  return run.exitCode === 0 ? run.stdout : undefined;
}, linkedProgramsMaximum);

function availableBytesIn(memory: string): number | undefined {
  const [, kibibytes] = /^MemAvailable:\s+(\d+) kB$/m.exec(memory) ?? [];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}

function hugePagesIn(memory: string): Machine['freeHugePages'] {
  const [, free] = /^HugePages_Free:\s+(\d+)$/m.exec(memory) ?? [];
  const [, kibibytes] = /^Hugepagesize:\s+(\d+) kB$/m.exec(memory) ?? [];
  return free === undefined || kibibytes === undefined ? null : { count: Number(free), pageBytes: Number(kibibytes) * 1024 };
}

function processesIn(limits: string): number | null {
  const [, soft] = /^Max processes\s+(\d+)\s/m.exec(limits) ?? [];
  return soft === undefined ? null : Number(soft);
}

/** Only Linux has these files. */
async function textOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // What is not told is unknown, and said to be.
    return '';
  }
}
