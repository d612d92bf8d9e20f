/** What a restore leaves that came to no good end: evidence, never a trap. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect } from 'vitest';
import type { DemoSite } from '../../../src/demo/demo-site.ts';
import { readMarker } from '../../../src/postgres/restore-marker.ts';
import { markedProcesses } from '../../harness/processes.ts';

/** Processes are looked for by their working directory alone. */
const noVariable = 'WALKBACK_NO_SUCH_VARIABLE=1';
const startSeconds = 10;

/** No process of the directory runs: no server, and nothing that a server started. */
export function expectNoProcess(dataDirectory: string): void {
  expect(markedProcesses({ variable: noVariable, directory: dataDirectory }, new Set())).toEqual([]);
}

/** The directory is kept, marked as abandoned, without a process, and no start of PostgreSQL works on it. */
export async function expectAbandoned(site: DemoSite, dataDirectory: string): Promise<void> {
  expectNoProcess(dataDirectory);
  expect(await readMarker(dataDirectory)).toMatchObject({ phase: 'abandoned' });
  const pgCtl = join(site.installation.binDirectory, 'pg_ctl');
  const logFile = join(site.directory, 'refused-start.log');
  const started = await execa(pgCtl, ['start', '-w', '-t', String(startSeconds), '-D', dataDirectory, '-l', logFile], {
    reject: false,
    stdin: 'ignore',
  });
  expect(started.exitCode).not.toBe(0);
  expectNoProcess(dataDirectory);
}

/** Nothing was made at that path. */
export async function expectAbsent(dataDirectory: string): Promise<void> {
  await expect(access(dataDirectory)).rejects.toMatchObject({ code: 'ENOENT' });
}
