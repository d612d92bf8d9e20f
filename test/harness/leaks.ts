/** Fails a suite that leaves processes or directories behind. */
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killProcess, markedProcesses } from './processes.ts';
import type { ProcessInfo } from './processes.ts';
import { waitUntil } from './wait-until.ts';

/** Looks after one suite. */
export interface LeakGuard {
  /**
   * Ends the watch and removes the suite's directory.
   *
   * @throws Error that names every process and directory left, after having ended the processes.
   */
  finish(): Promise<void>;
}

const variableName = 'WALKBACK_SUITE';
/** A server that was told to stop just before the end may need a moment. */
const settleMs = 3000;

/** Gives the suite a temporary directory of its own and marks every process that it will start. */
export function watchForLeaks(): LeakGuard {
  const outer = { temporary: process.env['TMPDIR'], mark: process.env[variableName] };
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 's-')));
  process.env['TMPDIR'] = directory;
  process.env[variableName] = directory;
  return {
    async finish() {
      const found = await leftProcesses(directory);
      for (const { pid } of found) killProcess(pid);
      const names = readdirSync(directory).filter((name) => !isToolCache(name));
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
      restore('TMPDIR', outer.temporary);
      restore(variableName, outer.mark);
      const lines = [
        ...found.map(({ pid, commandLine }) => `process ${pid}: ${commandLine}`),
        ...names.map((name) => `in TMPDIR: ${name}`),
      ];
      if (lines.length > 0) throw new Error(`The suite left behind:\n${lines.join('\n')}`);
    },
  };
}

/** Vitest's own workers inherit the mark and outlive the suite, so descendants of vitest that are vitest do not count. */
async function leftProcesses(directory: string): Promise<readonly ProcessInfo[]> {
  const left = (): readonly ProcessInfo[] =>
    markedProcesses({ variable: `${variableName}=${directory}`, directory }, new Set([process.pid])).filter(
      ({ commandLine }) => !isVitest(commandLine),
    );
  try {
    await waitUntil(() => left().length === 0, { timeoutMs: settleMs, description: 'the last processes end' });
    return [];
  } catch {
    // They did not end: they are what the suite left.
    return left();
  }
}

function isVitest(commandLine: string): boolean {
  return /\/node_modules\/(vitest|esbuild|vite)\//.test(commandLine) || /^(node \()?vitest/.test(commandLine);
}

function isToolCache(name: string): boolean {
  return name === 'node-compile-cache' || name.startsWith('vitest');
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
