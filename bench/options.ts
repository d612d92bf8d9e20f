/** The command line of `npm run bench`. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { figures } from './figures/catalog.ts';
import type { FigureName } from './figures/figure.ts';

/** What was asked for. */
export interface BenchOptions {
  readonly figures: readonly FigureName[];
  readonly runs: number;
  readonly sizeMib: number;
  readonly segments: number;
  readonly json: boolean;
  /** Where the table and the plot go; undefined: nowhere. */
  readonly results: string | undefined;
  /** Time, memory and requests by size, in place of the figures. */
  readonly growth: boolean;
  /** Replay under settings that count only while recovering, in place of the figures. */
  readonly recoverySettings: boolean;
  readonly sparseGib: number;
  readonly tinyFiles: number;
  readonly capSeconds: number;
}

const defaultRuns = 5;
const runsMaximum = 100;
const sizeMaximumMib = 1024 * 1024;
const tinyFilesMaximum = 100_000_000;
const segmentsMinimum = 8;
const segmentsMaximum = 4096;

/** Reads the command line. Ends the process after --help and after an error of usage. */
export function parseOptions(argv: readonly string[]): BenchOptions {
  const names = figures.map(({ name }) => name);
  const command = new Command('npm run bench --')
    .description('Measures walkback beside wal-g, pgBackRest and plain files: one machine, one S3 server, interleaved runs, medians.')
    .addOption(new Option('--figure <name...>', 'only these figures').choices(names).default(names, 'all'))
    .option('--runs <count>', 'runs of each figure and contestant', wholeNumber(1, runsMaximum), defaultRuns)
    .option('--size-mib <size>', 'size of the cluster in MiB', wholeNumber(32, sizeMaximumMib), 1024)
    .option('--segments <count>', 'WAL segments that are archived and replayed', wholeNumber(segmentsMinimum, segmentsMaximum), 64)
    .option('--results <folder>', 'also write benchmarks.md and benchmarks.svg into the folder')
    .option(
      '--growth',
      'in place of the figures: time, memory and S3 requests of 1, 4 and 16 sixteenths of the size, and of odd shapes',
      false,
    )
    .option(
      '--recovery-settings',
      "in place of the figures: the same WAL replayed under PostgreSQL's own settings, and under others",
      false,
    )
    .option('--sparse-gib <size>', 'growth: size of a relation of empty pages', wholeNumber(1, sizeMaximumMib), 300)
    .option('--tiny-files <count>', 'growth: number of files of a hundred bytes', wholeNumber(1, tinyFilesMaximum), 1_000_000)
    .option('--cap-seconds <seconds>', 'growth: each case is ended after it, and says how far it came', wholeNumber(1, 86_400), 120)
    .option('--json', 'one JSON document with the ratios on stdout, progress on stderr', false)
    .addHelpText(
      'after',
      `
Peers are found by themselves: wal-g by WALG_BIN, on PATH or in ../shared/tools; pgbackrest on PATH; versitygw, the S3 server, by
VERSITYGW_BIN, on PATH or in ../shared/tools, else walkback's own S3 server takes its place (and pgBackRest, which needs HTTPS, is left out).

Examples:
  npm run bench
  npm run bench -- --json
  npm run bench -- --figure wal-push wal-replay --runs 3
  npm run bench -- --size-mib 128 --segments 8 --runs 1
  npm run bench -- --results docs
  npm run bench -- --growth --tiny-files 100000`,
    );
  const parsed = command.parse(argv, { from: 'user' }).opts<Omit<BenchOptions, 'figures'> & { figure: FigureName[] }>();
  const { figure, ...rest } = parsed;
  return { ...rest, results: parsed.results, figures: figure };
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
