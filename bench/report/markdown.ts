/** The table for people. */
import { cpus } from 'node:os';
import type { Figure } from '../figures/figure.ts';
import type { BenchOptions } from '../options.ts';
import { type FigureResult, isReached, type Ratio, ratiosOf, type Result } from '../results.ts';

/** What the numbers were measured on. */
export interface Circumstances {
  readonly options: BenchOptions;
  readonly s3: string;
  readonly postgres: number;
}

/** A page with both tables: the ratios with their targets, and everything that was measured. */
export function renderTable(results: readonly FigureResult[], circumstances: Circumstances): string {
  const { options, s3, postgres } = circumstances;
  const [processor] = cpus();
  return [
    '# Benchmarks',
    '',
    `Measured by \`npm run bench\` on ${cpus().length} × ${processor?.model.trim() ?? 'an unknown processor'}: PostgreSQL ${postgres}, a cluster of ${options.sizeMib} MiB`,
    `(half pgbench, half random text, with page checksums), ${options.segments} WAL segments, S3 server ${s3} on loopback; medians of ${options.runs}`,
    'interleaved runs, each with a flushed disk and memory that was used before. Absolute times are this machine’s; the ratios count.',
    '',
    '![Time relative to walkback](benchmarks.svg)',
    '',
    '## Ratios',
    '',
    'Theirs divided by ours, each peer at its best setting: over 1, walkback is faster.',
    '',
    '| figure | against | ours | theirs | ratio | target | reached |',
    '| --- | --- | ---: | ---: | ---: | ---: | --- |',
    ...results.flatMap(ratioRows),
    '',
    '## Everything measured',
    '',
    'CPU seconds and peak memory are those of the contestant’s own processes; PostgreSQL and the S3 server are not among them.',
    '',
    '| figure | contestant | time | CPU | peak memory |',
    '| --- | --- | ---: | ---: | ---: |',
    ...results.flatMap(({ figure, results: all }) => all.map((result) => resultRow(figure, result))),
    '',
  ].join('\n');
}

function ratioRows(result: FigureResult): readonly string[] {
  const { figure } = result;
  const absolute = figure.target.oursMaximumSeconds;
  const ratios = ratiosOf(result).map((ratio) => ratioRow(figure, ratio));
  const ours = result.results.find(({ name }) => name === 'walkback');
  if (absolute === undefined || ours === undefined) return ratios;
  const reached = ours.seconds <= absolute ? 'yes' : 'no';
  return [`| ${figure.title} | the clock | ${timeOf(figure, ours.seconds)} | | | ≤ ${timeOf(figure, absolute)} | ${reached} |`, ...ratios];
}

function ratioRow(figure: Figure, ratio: Ratio): string {
  const wanted = figure.target.ratios[ratio.against];
  const reached = isReached(figure, ratio);
  const times = `${timeOf(figure, ratio.ours)} | ${timeOf(figure, ratio.theirs)}`;
  const target = wanted === undefined ? '' : `≥ ${wanted.toFixed(2)}`;
  return `| ${figure.title} | ${ratio.against} | ${times} | ${ratio.ratio.toFixed(2)} | ${target} | ${reached === undefined ? '' : reached ? 'yes' : 'no'} |`;
}

function resultRow(figure: Figure, { label, seconds, cpuSeconds, peakBytes }: Result): string {
  const memory = `${Math.round(peakBytes / 1024 / 1024)} MiB`;
  return `| ${figure.title} | ${label} | ${timeOf(figure, seconds)} | ${timeOf(figure, cpuSeconds)} | ${memory} |`;
}

function timeOf({ unit }: Figure, seconds: number): string {
  return unit === 'ms' ? `${(seconds * 1000).toFixed(1)} ms` : `${seconds.toFixed(2)} s`;
}
