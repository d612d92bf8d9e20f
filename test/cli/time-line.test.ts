import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderTimeLine } from '../../src/cli/time-line.ts';
import type { ArchiveWindow, BackupWindow, WindowHole } from '../../src/domain/archive-window.ts';
import { minute, segment } from '../domain/support/archive.ts';

/** A backup that ends at one minute and reaches to another. */
function reaching(from: number, to: number, lastSegment: number): BackupWindow {
  return {
    backup: `base_${segment(1, from)}`,
    isUsable: true,
    deltaFrom: undefined,
    isPermanent: false,
    from: minute(from),
    fromLsn: '0/0',
    toSegment: segment(1, lastSegment),
    toLsn: '0/0',
    timeline: 1,
    toClosedAt: minute(to),
  };
}

const hole: WindowHole = {
  timeline: 1,
  first: segment(1, 21),
  last: segment(1, 24),
  count: 4,
  backups: [],
  backupCount: 1,
  after: minute(20),
  before: minute(25),
};

function windowOf(backups: readonly BackupWindow[], more: Partial<ArchiveWindow> = {}): ArchiveWindow {
  return {
    cluster: 'shop',
    earliest: null,
    latest: null,
    lastCommit: null,
    holes: [],
    backups,
    leftOut: { holes: 0, backups: 0 },
    ...more,
  };
}

describe('renderTimeLine', () => {
  it('renderTimeLine draws each backup from its finish to the end of its WAL, holes, and the last commit, in the width it is given', () => {
    const window = windowOf([reaching(0, 20, 20), reaching(30, 50, 50)], {
      holes: [hole],
      lastCommit: { time: minute(48), segment: segment(1, 50) },
    });
    expect(renderTimeLine(window, { columns: 53, ascii: true })).toBe(
      [
        ' 2026-11-22 10:00:00 UTC     2026-11-22 10:50:00 UTC',
        ' |--------------------xxxxx',
        '                               |------------------->',
        '             last commit 2026-11-22 10:48:00 UTC ^',
        ' | base backup   - WAL   x missing WAL',
      ].join('\n'),
    );
  });

  it('renderTimeLine has no line where no two instants are known', () => {
    expect(renderTimeLine(windowOf([]), { columns: 80 })).toBeUndefined();
    expect(renderTimeLine(windowOf([{ ...reaching(1, 1, 1), toClosedAt: undefined }]), { columns: 80 })).toBeUndefined();
  });

  it('renderTimeLine never draws wider than the terminal', () => {
    const minutes = fc.integer({ min: 0, max: 100_000 });
    const backups = fc.array(fc.tuple(minutes, minutes), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(backups, minutes, fc.integer({ min: 56, max: 200 }), (pairs, commit, columns) => {
        const windows = pairs.map(([one, other]) => reaching(Math.min(one, other), Math.max(one, other), 20));
        const window = windowOf(windows, { holes: [hole], lastCommit: { time: minute(commit), segment: segment(1, 1) } });
        const lines = renderTimeLine(window, { columns })?.split('\n') ?? [];
        expect(Math.max(0, ...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
      }),
    );
  });
});
