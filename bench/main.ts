/** `npm run bench`: walkback beside what a user would take instead, measured on this machine. */
import { constants } from 'node:fs';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { signalOfProcess } from '../src/cli/context.ts';
import { messageOf } from '../src/domain/errors.ts';
import { findContestants } from './contestants.ts';
import { type BenchOptions, parseOptions } from './options.ts';
import { measureGrowth } from './growth/growth.ts';
import { renderGrowth } from './report/growth-table.ts';
import { measureRecoverySettings } from './recovery/recovery-settings.ts';
import { renderTable } from './report/markdown.ts';
import { renderSettings } from './report/settings-table.ts';
import { renderPlot } from './report/plot.ts';
import { type FigureResult, ratiosOf } from './results.ts';
import { runFigures } from './run-figures.ts';
import { type BenchSite, startBenchSite } from './site/bench-site.ts';

const startedMs = performance.now();

function say(line: string): void {
  process.stderr.write(`${((performance.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
}

async function main(options: BenchOptions): Promise<void> {
  const signal = signalOfProcess();
  say(`Temporal, S3, an agent, a worker, and a source of ${options.sizeMib} MiB`);
  await using site = await startBenchSite({ sizeMib: options.sizeMib, signal });
  say(`S3 server: ${site.s3.name}; PostgreSQL ${site.demo.installation.major}`);
  await using contestants = await findContestants(site, say);
  if (options.recoverySettings) return await reportRecoverySettings(site, options, signal);
  const results = await runFigures({ site, contestants, options, say, signal });
  const table = renderTable(results, { options, s3: site.s3.name, postgres: site.demo.installation.major });
  if (options.results !== undefined) await writeResults(options.results, table, results);
  if (options.json) process.stdout.write(`${JSON.stringify({ ratios: results.flatMap(ratiosOf) }, undefined, 2)}\n`);
  else process.stdout.write(`${table}\n`);
}

async function reportRecoverySettings(site: BenchSite, options: BenchOptions, signal: AbortSignal): Promise<void> {
  const results = await measureRecoverySettings(site, options, { say, signal });
  process.stdout.write(options.json ? `${JSON.stringify({ recoverySettings: results }, undefined, 2)}\n` : `${renderSettings(results)}\n`);
}

/** Before anything is measured: as root, the bench runs as another user, who may not write everywhere. */
async function assertWritable(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (cause) {
    throw new Error(
      `${userInfo().username} cannot write to ${folder}: name a folder for the results that it can write to, and copy them from there.`,
      { cause },
    );
  }
}

/** The sixteenth part of the size is the smallest case. */
async function reportGrowth(options: BenchOptions): Promise<void> {
  const rows = await measureGrowth({ ...options, sizeMib: Math.max(1, Math.round(options.sizeMib / 16)), say });
  const table = renderGrowth(rows);
  if (options.results !== undefined) await writeFile(join(options.results, 'benchmarks-growth.md'), table);
  process.stdout.write(options.json ? `${JSON.stringify({ growth: rows }, undefined, 2)}\n` : `${table}\n`);
}

async function writeResults(folder: string, table: string, results: readonly FigureResult[]): Promise<void> {
  await writeFile(join(folder, 'benchmarks.md'), table);
  await writeFile(join(folder, 'benchmarks.svg'), renderPlot(results));
}

const options = parseOptions(process.argv.slice(2));
try {
  if (options.results !== undefined) await assertWritable(options.results);
  await (options.growth ? reportGrowth(options) : main(options));
} catch (error) {
  process.stderr.write(`bench: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
