import { describe, expect, it } from 'vitest';
import { baseBackupPush } from '../../bench/figures/base-backups.ts';
import { figures } from '../../bench/figures/catalog.ts';
import { restoreCallHit } from '../../bench/figures/restore-calls.ts';
import { renderGrowth } from '../../bench/report/growth-table.ts';
import { renderTable } from '../../bench/report/markdown.ts';
import { median } from '../../bench/report/median.ts';
import { renderPlot } from '../../bench/report/plot.ts';
import { type FigureResult, ratiosOf, resultOf } from '../../bench/results.ts';
import type { Peer } from '../../bench/peers/peer.ts';

const runsOf = (...seconds: readonly number[]) => seconds.map((each) => ({ seconds: each, cpuSeconds: each / 2, peakBytes: 1024 ** 2 }));
const peer = (name: Peer['name'], variant: string, ...seconds: readonly number[]) =>
  resultOf({ name, variant } as Peer, runsOf(...seconds));

const push: FigureResult = {
  figure: baseBackupPush,
  results: [peer('walkback', '', 2, 1, 9), peer('wal-g', 'lz4', 6, 5, 7), peer('wal-g', 'zstd', 3, 3, 3), peer('local-files', '', 1, 1, 1)],
};

describe('the report of the bench', () => {
  it('median is the middle, or the mean of the two in the middle', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });

  it('a ratio holds the median of our runs against the best setting of each peer that took part', () => {
    expect(ratiosOf(push)).toEqual([
      { figure: 'base-backup-push', against: 'wal-g', ratio: 1.5, ours: 2, theirs: 3, runs: 3 },
      { figure: 'base-backup-push', against: 'local-files', ratio: 0.5, ours: 2, theirs: 1, runs: 3 },
    ]);
  });

  it('the table says which targets are reached, by ratio and by the clock', () => {
    const calls: FigureResult = { figure: restoreCallHit, results: [peer('walkback', '', 0.0061), peer('wal-g', 'lz4', 0.065)] };
    const options = {
      figures: [],
      runs: 3,
      sizeMib: 1024,
      segments: 64,
      json: false,
      results: undefined,
      growth: false,
      recoverySettings: false,
      sparseGib: 1,
      tinyFiles: 1,
      capSeconds: 1,
    };
    const table = renderTable([push, calls], { options, s3: 'versitygw', postgres: 15 });
    expect(table).toContain('| base backup push | wal-g | 2.00 s | 3.00 s | 1.50 | ≥ 1.50 | yes |');
    expect(table).toContain('| one restore_command call, segment there | the clock | 6.1 ms | | | ≤ 5.0 ms | no |');
    expect(table).toContain('| base backup push | wal-g (lz4) | 6.00 s | 3.00 s | 1 MiB |');
  });

  it('the table of growth says who stays under the bound of memory, how far a capped case came, and what 8 MiB cost in requests', () => {
    const mebibyte = 1024 ** 2;
    const outcome = { isComplete: true, bytesDone: 0, seconds: 2, cpuSeconds: 1, peakBytes: 399 * mebibyte };
    const table = renderGrowth([
      { work: 'push', dataBytes: 80 * mebibyte, outcome, requests: { PutObject: 2, UploadPart: 3, GetObject: 9 } },
      {
        work: 'sparse',
        dataBytes: 999,
        outcome: { ...outcome, isComplete: false, bytesDone: 16 * mebibyte, peakBytes: 400 * mebibyte },
        requests: {},
      },
    ]);
    expect(table).toContain('| push | 2.0 s | 40 | 399 MiB | yes | 2 PutObject, 3 UploadPart, 9 GetObject | 0.50 |');
    expect(table).toContain('| sparse (ended after 16 MiB) | 2.0 s | 8 | 400 MiB | no |  | 0.00 |');
  });

  it('the plot has a bar for everybody', () => {
    const svg = renderPlot([push]);
    expect(svg.match(/<rect x="210"/g)).toHaveLength(4);
    expect(svg).toContain('3.00 s · 1.50 ×');
  });

  it('the figures and their order are those that `--json` promises', () => {
    expect(figures.map(({ name }) => name)).toEqual([
      'base-backup-push',
      'base-backup-fetch',
      'wal-push',
      'wal-replay',
      'restore-call-hit',
      'restore-call-absent',
      'restore-total',
      'orchestration',
    ]);
  });
});
