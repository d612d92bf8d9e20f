import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { renderLandingMarkdown, renderLandingReport, renderWholeLandingReport } from '../../src/domain/render-landing-report.ts';
import type { WalSegmentName } from '../../src/domain/wal-segment.ts';

const report: LandingReport = {
  restoreId: 'restore/db1/srv/shop-1157',
  cluster: 'shop',
  name: 'shop-1157',
  host: 'db1',
  dataDirectory: '/srv/shop-1157',
  port: 5433,
  listenAddresses: '127.0.0.1',
  socketDirectory: '/run/walkback/shop-1157',
  archive: 's3://bucket/shop-1157',
  parentArchive: 's3://bucket/shop',
  parentTimeline: 1,
  restoredAt: '2026-11-22T12:03:00.000Z',
  requestedTarget: { kind: 'time', time: parseInstant('2026-11-22T11:57:00.5Z') },
  endReason: 'target-reached',
  lastCommitKept: { time: '2026-11-22 11:56:58.75+00', xid: null },
  firstCommitLeftOut: { time: '2026-11-22 11:57:11.25+00', xid: '742' },
  endLsn: '0/7000148',
  timeline: 2,
  earlyEndProof: null,
  earlyEndDoubt: null,
  stop: { kind: 'before', record: 'commit', xid: '742', time: parseInstant('2026-11-22T11:57:11.25Z') },
  decisions: [],
  sourceFlushed: true,
  backup: 'base_000000010000000000000003',
  fetchedBytes: 1000,
  fetchedParts: 3,
  partsAlreadyFetched: 0,
  segmentsReplayed: 4,
  recoveryStarts: 1,
  roles: [
    {
      role: 'app',
      newName: 'app_1157',
      passwordFile: '/etc/walkback/app_1157',
      oldPasswordRefused: true,
      oldPasswordProof: 'login-attempt',
    },
  ],
  lockedRoles: [],
  checks: [{ sql: 'SELECT count(*) FROM customers', expected: '5', actual: '5', ok: true }],
  findings: [],
  findingsLeftOut: 0,
  retired: null,
  protection: null,
  postgresLog: [],
  settingsNotCarriedOver: [],
  steps: [
    { name: 'plan', milliseconds: 40, attempts: 1 },
    { name: 'fetch-base-backup', milliseconds: 1260, attempts: 2 },
  ],
  totalMilliseconds: 4321,
};

/** Label to text of each line, in order. */
function rowsOf(changes: Partial<LandingReport>): [string, string][] {
  return renderLandingReport({ ...report, ...changes })
    .split('\n')
    .map((line) => {
      const [label = '', ...rest] = line.split(/ {2,}/);
      return [label, rest.join('  ')];
    });
}

function row(changes: Partial<LandingReport>, label: string): string | undefined {
  return rowsOf(changes).find(([name]) => name === label)?.[1];
}

describe('renderLandingReport', () => {
  it('renderLandingReport tells what was asked, where it landed, and what was left out', () => {
    expect(rowsOf({})).toEqual([
      ['restored', 'shop as shop-1157, on db1'],
      ['asked for', '2026-11-22 11:57:00.5 UTC'],
      ['landed', 'target reached: stopped before the commit of transaction 742 at 2026-11-22 11:57:11.25 UTC'],
      ['last commit kept', '2026-11-22 11:56:58.75 UTC'],
      ['first left out', '2026-11-22 11:57:11.25 UTC (transaction 742)'],
      ['timeline', '2, left 1 at 0/7000148'],
      ['base backup', 'base_000000010000000000000003, 1000 bytes fetched in 3 parts, then 4 WAL segments'],
      ['listens on', '127.0.0.1 port 5433'],
      ['data directory', '/srv/shop-1157'],
      ['archives to', 's3://bucket/shop-1157'],
      ['role', 'app is now app_1157; password in /etc/walkback/app_1157; old password refused (login-attempt)'],
      ['check', 'ok: SELECT count(*) FROM customers = 5'],
      ['took', '4.3 s: plan 0.0, fetch-base-backup 1.3'],
    ]);
  });

  it('renderLandingReport aligns its texts in one column', () => {
    const lines = renderLandingReport(report).split('\n');
    const columns = lines.map((line) => /^(\S.*?\s{2,})\S/.exec(line)?.[1]?.length);
    expect(new Set(columns).size).toBe(1);
  });

  it('renderLandingReport gives the proof of an early end', () => {
    const changes = {
      endReason: 'ended-early-proven-complete',
      earlyEndProof: 'The source closed its WAL.',
      firstCommitLeftOut: null,
      stop: null,
    } as const;
    expect(row(changes, 'landed')).toContain('proven');
    expect(row(changes, 'proof')).toBe('The source closed its WAL.');
    expect(row(changes, 'first left out')).toBe('none');
  });

  it('renderLandingReport shouts when an early end was taken without a proof, and tells who decided what', () => {
    const decision = { decision: 'promote', at: '2026-11-22T12:00:00.000Z', reason: 'better than nothing', target: null } as const;
    const changes = { endReason: 'ended-early-not-proven', earlyEndDoubt: 'WAL is missing', stop: null, decisions: [decision] } as const;
    expect(row(changes, 'landed')).toContain('NOT proven');
    expect(row(changes, 'doubt')).toBe('WAL is missing');
    expect(row(changes, 'decided')).toBe('promote at 2026-11-22T12:00:00.000Z: better than nothing');
  });

  it('renderLandingReport names what was salvaged, and the last commit in it', () => {
    const partial = '000000010000000000000009' as WalSegmentName;
    const salvage = { segments: 2, partial, lastCommit: { time: parseInstant('2026-11-22T11:58:00Z'), xid: '801' } };
    expect(row({ salvage }, 'salvaged')).toBe(
      `2 WAL segments and the unfinished ${partial}; the last commit in it is of 2026-11-22 11:58:00 UTC (transaction 801)`,
    );
    expect(row({ salvage: { segments: 2, partial: null, lastCommit: null } }, 'salvaged')).toBe('2 WAL segments');
  });

  it('renderLandingReport says when nothing was replayed after the base backup', () => {
    expect(row({ lastCommitKept: null }, 'last commit kept')).toBe('none after the base backup');
    expect(row({ endLsn: null }, 'timeline')).toBe('2, left 1');
  });

  it('renderLandingReport shouts when an old password still works or a check is wrong', () => {
    const roles = [{ ...report.roles[0]!, oldPasswordRefused: false }];
    expect(row({ roles }, 'role')).toContain('NOT REFUSED');
    expect(row({ checks: [{ sql: 'SELECT 1', expected: '1', actual: null, ok: false }] }, 'check')).toBe('WRONG: SELECT 1 = NULL');
  });

  it('renderLandingReport says whether a first base backup protects the restored cluster', () => {
    expect(row({}, 'protected')).toBeUndefined();
    expect(row({ protection: { backup: 'base_x', failure: null } }, 'protected')).toBe('by its first base backup, base_x');
    expect(row({ protection: { backup: null, failure: 'the store is full' } }, 'protected')).toContain(
      'NOT YET: the first base backup failed: the store',
    );
  });

  it('renderLandingReport says how a retired source is brought back', () => {
    const retired = { cluster: 'shop', host: 'db1', dataDirectory: '/srv/shop', keepUntil: '2026-11-23T12:00:00.000Z' };
    expect(row({ retired }, 'retired')).toContain('`walkback undo restore/db1/srv/shop-1157`');
  });

  it('renderLandingReport lists locked roles, and leaves empty lists out', () => {
    expect(row({ lockedRoles: ['old', 'older'] }, 'locked roles')).toBe('old, older');
    const labels = rowsOf({ roles: [], checks: [] }).map(([label]) => label);
    expect(labels).not.toContain('role');
    expect(labels).not.toContain('check');
    expect(labels).not.toContain('locked roles');
  });
});

describe('renderWholeLandingReport', () => {
  it('renderWholeLandingReport adds each step with its attempts, and PostgreSQL’s own words', () => {
    const postgresLog = ['2026-11-22T12:01:00Z LOG: recovery stopping before commit of transaction 742'];
    const text = renderWholeLandingReport({ ...report, postgresLog, recoveryStarts: 2, settingsNotCarriedOver: ['ssl_cert_file'] });
    expect(text).toContain('4.3 s, PostgreSQL started 2 times');
    expect(text).toMatch(/\nSteps\n {2}plan +0\.0 s\n {2}fetch-base-backup +1\.3 s {2}attempt 2\n/);
    expect(text).toContain(`PostgreSQL said\n  ${postgresLog[0]}`);
    expect(text).toContain('not carried over\n  ssl_cert_file');
    expect(renderWholeLandingReport(report)).not.toContain('PostgreSQL said');
  });

  it('renderLandingMarkdown says the same as a list, for the Temporal UI', () => {
    const text = renderLandingMarkdown({ ...report, postgresLog: ['LOG: redo done at 0/7000148'] });
    expect(text).toContain('- **first left out:** 2026-11-22 11:57:11.25 UTC (transaction 742)');
    expect(text).toContain('    LOG: redo done at 0/7000148');
  });
});
