import { describe, expect, it } from 'vitest';
import { parseInstant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { renderClusterDetails, renderRestoreDetails } from '../../src/workflows/render-details.ts';

const request: RestoreRequest = {
  cluster: 'shop',
  name: 'shop-1157',
  host: 'db1',
  target: { kind: 'time', time: parseInstant('2026-11-22T11:57:00.5Z') },
  dataDirectory: '/srv/shop-1157',
  port: 5433,
};
const fetching = {
  phase: 'fetch-base-backup',
  summary: 'Fetch base_000000010000000000000003 to db1',
  waitingFor: null,
  steps: [
    { name: 'plan', milliseconds: 1040, attempts: 1 },
    { name: 'check-host', milliseconds: 260, attempts: 3 },
  ],
};

describe('renderRestoreDetails', () => {
  it('renderRestoreDetails shows where from, where to, what now, and what is done', () => {
    expect(renderRestoreDetails(request, fetching)).toBe(
      [
        '## shop → shop-1157',
        '- **Target:** 2026-11-22 11:57:00.5 UTC',
        '- **Host:** db1, /srv/shop-1157, port 5433',
        '- **Now:** fetch-base-backup — Fetch base_000000010000000000000003 to db1',
        '',
        '### Steps done',
        '- plan: 1.0 s',
        '- check-host: 0.3 s, attempt 3',
      ].join('\n'),
    );
  });

  it('renderRestoreDetails asks for the decision while a person has to make one', () => {
    const waiting = { ...fetching, phase: 'paused-at-target', waitingFor: 'the update `promote`, or cancel' };
    expect(renderRestoreDetails(request, waiting)).toContain('- **Waiting for a decision:** the update `promote`, or cancel');
    expect(renderRestoreDetails(request, fetching)).not.toContain('Waiting');
  });

  it('renderRestoreDetails shows no list of steps before the first is done', () => {
    expect(renderRestoreDetails(request, { ...fetching, steps: [] })).not.toContain('Steps');
  });

  it('renderRestoreDetails ends with the landing report once there is one', () => {
    const landing = {
      requestedTarget: request.target,
      endReason: 'end-of-wal',
      stop: null,
      lastCommitKept: null,
      firstCommitLeftOut: null,
      earlyEndProof: null,
      earlyEndDoubt: null,
      decisions: [],
      timeline: 2,
      parentTimeline: 1,
      endLsn: '0/3000028',
      retired: null,
      protection: null,
      roles: [],
      lockedRoles: [],
      checks: [],
      findings: [{ kind: 'unlogged-table', database: 'shop', text: 'scratch is unlogged' }],
      findingsLeftOut: 0,
      steps: [],
      recoveryStarts: 1,
      totalMilliseconds: 1000,
      postgresLog: ['LOG: redo done at 0/3000028'],
    } as unknown as LandingReport;
    const text = renderRestoreDetails(request, { ...fetching, phase: 'done' }, landing);
    const [details, report] = text.split('### Landing report');
    expect(details).toContain('### Steps done');
    expect(report).toContain('- **timeline:** 2, left 1 at 0/3000028');
    expect(report).toContain('### Findings\n- unlogged-table in shop: scratch is unlogged');
    expect(report).toContain('### PostgreSQL said\n\n    LOG: redo done at 0/3000028');
  });

  it('renderRestoreDetails shows nothing of roles, which name where passwords are', () => {
    const roles = [{ role: 'app', newName: 'app_1157', password: { kind: 'file', path: '/etc/walkback/app' } } as const];
    expect(renderRestoreDetails({ ...request, roles }, fetching)).toBe(renderRestoreDetails(request, fetching));
  });
});

describe('renderClusterDetails', () => {
  it('renderClusterDetails shows the cluster, what now, and what is done', () => {
    expect(renderClusterDetails('shop', fetching).split('\n')).toEqual([
      '## shop',
      '- **Now:** fetch-base-backup — Fetch base_000000010000000000000003 to db1',
      '',
      '### Steps done',
      '- plan: 1.0 s',
      '- check-host: 0.3 s, attempt 3',
    ]);
  });
});
