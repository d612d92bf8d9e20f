import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BaseBackup } from '../../../src/domain/base-backup.ts';
import { type DemoSite, startDemoSite } from '../../../src/demo/demo-site.ts';
import { freePort } from '../../harness/postgres.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from './run-cli.ts';
import { querySource } from './shop.ts';

let site: DemoSite;

beforeAll(async () => {
  site = await startDemoSite({ withUi: false });
});
afterAll(() => site?.[Symbol.asyncDispose]());

interface EnableDocument {
  readonly ok: boolean;
  readonly cluster: string;
  readonly changed: readonly string[];
  readonly restarted: boolean;
  readonly provenBySegment: string;
}

async function settingsOfSource(): Promise<Record<string, string>> {
  const names = ['archive_mode', 'wal_level', 'archive_timeout', 'archive_command'];
  const rows = await querySource<{ name: string; value: string }>(
    site,
    `SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN (${names.map((name) => `'${name}'`).join(', ')})`,
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

async function startTimeOfSource(): Promise<string | undefined> {
  const [row] = await querySource<{ started: string }>(site, 'SELECT pg_postmaster_start_time()::text AS started');
  return row?.started;
}

/** A test here builds on the one before: a fresh cluster is enabled, then backed up. */
describe('walkback enable, backup, backups', () => {
  it('walkback backup refuses with ARCHIVING_NOT_ENABLED when the source does not archive', async () => {
    const outcome = await runCli(site, ['backup', 'shop', '--json']);
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'ARCHIVING_NOT_ENABLED']);
    expect(outcome.stderr).toContain('Try: Run `walkback enable shop`.');
  });

  it('walkback backups says that there is none yet when the archive is empty', async () => {
    const outcome = await runCli(site, ['backups', 'shop']);
    expect([outcome.exitCode, outcome.stdout]).toEqual([0, 'shop has no base backup yet: take one with `walkback backup shop`.']);
  });

  it('walkback enable ends with RESTART_NEEDED and does not restart when it may not', async () => {
    const startedAt = await startTimeOfSource();
    const outcome = await runCli(site, ['enable', 'shop', '--json']);
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'RESTART_NEEDED']);
    expect(outcome.stderr).toContain('--allow-restart');
    expect(await startTimeOfSource()).toBe(startedAt);
    expect(await settingsOfSource()).toMatchObject({ archive_mode: 'off' });
  });

  it('walkback enable restarts, sets the settings and proves one segment when it may', async () => {
    const outcome = await runCli(site, ['enable', 'shop', '--allow-restart', '--json']);
    expect(outcome.exitCode).toBe(0);
    const document = documentOf(outcome) as EnableDocument;
    expect(new Set(Object.keys(document))).toEqual(await documentedMembers('enable'));
    expect(document).toMatchObject({ ok: true, cluster: 'shop', restarted: true, store: { conditionalPut: true, checksums: 'enforced' } });
    expect(document.provenBySegment).toMatch(/^[0-9A-F]{24}$/);
    const settings = await settingsOfSource();
    expect(settings).toMatchObject({ archive_mode: 'on', archive_timeout: '1min' });
    expect(settings['archive_command']).not.toBe('');
    expect(['replica', 'logical']).toContain(settings['wal_level']);
  });

  it('walkback enable says that nothing had to change when it is run again', async () => {
    const startedAt = await startTimeOfSource();
    const outcome = await runCli(site, ['enable', 'shop']);
    expect(outcome.exitCode).toBe(0);
    expect(outcome.stdout).toMatch(/^shop archives its WAL: nothing had to change; segment [0-9A-F]{24} arrived\.\n/);
    expect(outcome.stdout).toMatch(/^conditional put +enforced +the store itself refuses/m);
    expect(await startTimeOfSource()).toBe(startedAt);
  });

  it('walkback probe tells what the store enforces, by itself when Temporal is down', async () => {
    const down = { ...site, environment: { ...site.environment, TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` } };
    const [text, json] = await Promise.all([runCli(down, ['probe', 'shop']), runCli(down, ['probe', 'shop', '--json'])]);
    const document = documentOf(json) as { readonly store: object };
    expect(new Set(Object.keys(document))).toEqual(await documentedMembers('probe'));
    expect(document).toMatchObject({ ok: true, cluster: 'shop', archive: site.s3.url('shop') });
    expect(document.store).toEqual({
      conditionalPut: true,
      checksums: 'enforced',
      delimiterListing: true,
      rangedRead: true,
      metadata: true,
    });
    expect(text.stdout).toMatch(/^STORE +FOUND +SO\nconditional put +enforced /);
  });

  it('walkback backup tells its steps on stderr and its size on stdout when it waits', async () => {
    const outcome = await runCli(site, ['backup', 'shop']);
    expect(outcome.exitCode).toBe(0);
    expect(outcome.stdout).toMatch(/^base_[0-9A-F]{24}: [\d.]+ MiB stored as [\d.]+ [KM]iB in [\d.]+ s\.$/);
    expect(outcome.stderr).toMatch(/^Base backup backup\/shop is started\.$/m);
    const told = outcome.stderr.split('\n').flatMap((line) => /^ {2}([a-z-]+): /.exec(line)?.[1] ?? []);
    expect(told).toEqual(['check-source', 'copy-files', 'await-wal', 'complete']);
  });

  it('walkback backup takes an incremental backup on the newest one when it is asked for', async () => {
    const outcome = await runCli(site, ['backup', 'shop', '--incremental', '--json']);
    const { backup } = documentOf(outcome) as { readonly backup: BaseBackup };
    expect(backup.name).toBe(`base_${backup.startSegment}_D_${backup.deltaFrom?.slice('base_'.length)}`);
    const listed = documentOf(await runCli(site, ['backups', 'shop', '--json'])) as { readonly backups: readonly BaseBackup[] };
    expect(listed.backups.map(({ deltaFrom }) => deltaFrom)).toEqual([undefined, backup.deltaFrom]);
  });

  it('walkback backup prints the id only when it does not wait, and walkback status finds it', async () => {
    const outcome = await runCli(site, ['backup', 'shop', '--no-wait', '--json']);
    expect(documentOf(outcome)).toEqual({ ok: true, workflowId: 'backup/shop' });
    const report = await site.client.getBackup('backup/shop').result();
    expect(report.backup.name).toMatch(/^base_/);
    const status = await runCli(site, ['status', 'backup/shop', '--json']);
    expect(documentOf(status)).toMatchObject({ ok: true, workflowId: 'backup/shop', status: 'completed', phase: 'done' });
  });

  it('walkback baseline counts rows and says where they are remembered', async () => {
    await querySource(site, 'CREATE TABLE counted AS SELECT generate_series(1, 7) AS n');
    const outcome = await runCli(site, ['baseline', 'shop', '--json']);
    const document = documentOf(outcome) as { tables: number; rows: number; key: string };
    expect(document).toMatchObject({ ok: true, cluster: 'shop', tables: 1, rows: 7, leftOut: 0 });
    expect(new Set(Object.keys(document))).toEqual(await documentedMembers('baseline'));
  });

  it('walkback backups lists them oldest first, by itself when Temporal is down', async () => {
    const down = { ...site, environment: { ...site.environment, TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` } };
    const [text, json] = await Promise.all([runCli(down, ['backups', 'shop']), runCli(down, ['backups', 'shop', '--json'])]);
    const { ok, cluster, backups, damaged } = documentOf(json) as {
      ok: boolean;
      cluster: string;
      backups: BaseBackup[];
      damaged: unknown[];
    };
    expect({ ok, cluster, damaged }).toEqual({ ok: true, cluster: 'shop', damaged: [] });
    expect(backups).toHaveLength(3);
    const members = await documentedMembers('Base backup');
    expect(Object.keys(backups[0] ?? {}).filter((member) => !members.has(member))).toEqual([]);
    expect(backups.map(({ finishTime }) => finishTime)).toEqual(backups.map(({ finishTime }) => finishTime).toSorted());
    const [header, ...rows] = text.stdout.split('\n');
    expect(header).toMatch(/^BACKUP +FINISHED +PG +SIZE +STORED +KIND$/);
    expect(rows.map((row) => row.split(' ', 1)[0])).toEqual(backups.map(({ name }) => name));
  });
});
