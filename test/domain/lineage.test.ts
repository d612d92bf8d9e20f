import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import { type FamilyMember, type Fork, renderLineage } from '../../src/domain/lineage.ts';

function fork(changes: Partial<Fork> = {}): Fork {
  return {
    parent: 'shop',
    restoreId: 'restore/db1/srv/x',
    host: 'db1',
    restoredAt: '2026-11-22T12:00:00.000Z',
    requestedTarget: { kind: 'time', time: parseInstant('2026-11-22T11:57:00Z') },
    parentTimeline: 1,
    lsn: '0/7000148',
    lastCommit: '2026-11-22T11:56:58.75Z',
    timeline: 2,
    ...changes,
  };
}

function member(name: string, its: Fork | null, children: readonly FamilyMember[] = []): FamilyMember {
  return { name, archive: `s3://bucket/${name}`, fork: its, children };
}

describe('renderLineage', () => {
  it('renderLineage draws every cluster below its parent, with where it left it, and marks the one asked for', () => {
    const bare = fork({ lsn: null, lastCommit: null, parentTimeline: 2, timeline: 3, requestedTarget: { kind: 'latest' } });
    const root = member('shop', null, [member('a', fork(), [member('b', bare)]), member('c', fork({ timeline: 4 }))]);
    expect(renderLineage({ cluster: 'b', root, leftOut: 2 }).split('\n')).toEqual([
      'shop',
      '├─ a  left timeline 1 for 2 at 0/7000148, last commit 2026-11-22 11:56:58.75 UTC (asked for 2026-11-22 11:57:00 UTC, restored 2026-11-22 12:00:00 UTC)',
      '│  └─ b *  left timeline 2 for 3 (asked for the end of the archived WAL, restored 2026-11-22 12:00:00 UTC)',
      '└─ c  left timeline 1 for 4 at 0/7000148, last commit 2026-11-22 11:56:58.75 UTC (asked for 2026-11-22 11:57:00 UTC, restored 2026-11-22 12:00:00 UTC)',
      'and 2 more',
    ]);
  });
});
