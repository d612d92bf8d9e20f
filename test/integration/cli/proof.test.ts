import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tarPartitionsPrefix, walKey } from '../../../src/archive/layout.ts';
import type { VerificationReport } from '../../../src/domain/archive-findings.ts';
import type { ArchiveWindow } from '../../../src/domain/archive-window.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { parseWalSegmentName, walSegmentName } from '../../../src/domain/wal-segment.ts';
import { freePort } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { damage, listKeys, openArchive, remove } from '../faults/stored-objects.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from './run-cli.ts';
import { querySource, type Shop, sourceNow, startShop } from './shop.ts';
import { executions, withTemporal } from './temporal.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop?.site[Symbol.asyncDispose]());

const run = (...args: readonly string[]) => runCli(shop.site, args);

interface VerifyDocument {
  readonly ok: boolean;
  readonly workflowId: string;
  readonly report: VerificationReport;
  readonly error?: { readonly code: string };
}

/** Closes a segment of the source, and waits until it is archived. */
async function closeSegment(): Promise<string> {
  const [row] = await querySource<{ name: string }>(shop.site, 'SELECT pg_walfile_name(pg_switch_wal()) AS name');
  const name = row?.name ?? '';
  await waitUntil(
    async () => (await querySource(shop.site, `SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '${name}'`)).length > 0,
    { timeoutMs: 30_000, description: `${name} is archived` },
  );
  return name;
}

/** A test here builds on the one before: the archive grows, is looked at, is spoilt and made good again. */
describe('walkback window and verify', () => {
  it('walkback window tells the last commit of the source by its own clock, and draws a line, with Temporal down too', async () => {
    await querySource(shop.site, 'CREATE TABLE window_marks (n int)');
    const before = await sourceNow(shop.site);
    await querySource(shop.site, 'INSERT INTO window_marks VALUES (1)');
    const after = await sourceNow(shop.site);
    const segment = await closeSegment();
    const down = {
      ...shop.site,
      environment: { ...shop.site.environment, TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}`, LC_ALL: 'C' },
    };
    const [json, text] = await Promise.all([runCli(down, ['window', demoCluster, '--json']), runCli(down, ['window', demoCluster])]);
    const { ok, ...window } = documentOf(json) as { ok: boolean } & ArchiveWindow;
    expect(new Set([...Object.keys(window), 'ok'])).toEqual(await documentedMembers('window'));
    expect(ok).toBe(true);
    expect(window).toMatchObject({ latest: { segment, timeline: 1 }, holes: [], backups: [{ isUsable: true, toSegment: segment }] });
    expect(window.lastCommit?.segment).toBe(segment);
    expect([before < window.lastCommit!.time, window.lastCommit!.time < after]).toEqual([true, true]);
    expect(window.earliest?.backup).toBe(window.backups[0]?.backup);
    const lines = text.stdout.split('\n');
    expect(lines[0]).toMatch(/^ \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
    expect(lines[1]).toMatch(/^ \|-*>$/);
    expect(text.stdout).toMatch(/^BACKUP +FROM \(JUST AFTER\) +TO +LSN +TIMELINE +KIND$/m);
    expect(await shop.site.client.archiveWindow({ cluster: demoCluster })).toEqual(window);
  });

  it('walkback verify says that the archive is sound, and reads every byte when it is asked to', async () => {
    const shallow = await run('verify', demoCluster);
    expect([shallow.exitCode, shallow.stdout.split('\n')[0]]).toEqual([0, expect.stringMatching(/^shop: sound\. 1 base backup, in /)]);
    const deep = await run('verify', demoCluster, '--deep', '--json');
    expect(deep.exitCode).toBe(0);
    const document = documentOf(deep) as VerifyDocument;
    expect(new Set(Object.keys(document))).toEqual(await documentedMembers('verify'));
    const members = await documentedMembers('Verification report');
    expect(new Set(Object.keys(document.report))).toEqual(members);
    expect(document).toMatchObject({ ok: true, workflowId: 'verify/shop', report: { isSound: true, deep: true, errors: 0, notes: 0 } });
    const store = openArchive(shop.site, demoCluster);
    const tars = await listKeys(store, tarPartitionsPrefix((await shop.site.client.listBackups({ cluster: demoCluster }))[0]!.name));
    expect(document.report.objectsRead).toBeGreaterThan(tars.size + 1);
    expect(await store.head(document.report.reportKey)).toBeDefined();
  });

  it('walkback verify ends with 5 and names the hole, the lost part and the flipped byte', async () => {
    const store = openArchive(shop.site, demoCluster);
    const lost = await closeSegment();
    await querySource(shop.site, 'INSERT INTO window_marks VALUES (2)');
    await closeSegment();
    const [backup] = await shop.site.client.listBackups({ cluster: demoCluster });
    const [firstTar = ''] = (await listKeys(store, tarPartitionsPrefix(backup!.name))).keys();
    const { timeline, number } = parseWalSegmentName(lost);
    const flipped = walKey(walSegmentName({ timeline, number: number - 1n }), 'zst');
    {
      await using stack = new AsyncDisposableStack();
      stack.use(await remove(store, walKey(lost, 'zst')));
      stack.use(await remove(store, firstTar));
      stack.use(await damage(store, flipped));
      const outcome = await run('verify', demoCluster, '--deep', '--json');
      expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([5, 'ARCHIVE_DAMAGED']);
      const { report } = documentOf(outcome) as VerifyDocument;
      expect(report.findings.map(({ kind, key, range }) => [kind, key ?? range?.first])).toEqual([
        ['wal-hole', lost],
        ['object-missing', firstTar],
        ['object-damaged', flipped],
      ]);
      const window = await run('window', demoCluster);
      expect(window.stdout).toMatch(new RegExp(`^1 +${lost} +${lost} +1 +`, 'm'));
    }
    expect((await run('verify', demoCluster, '--deep')).exitCode).toBe(0);
  });

  it('a schedule of verifications fails in red when the archive is not sound, and stands beside the one of base backups', async () => {
    const store = openArchive(shop.site, demoCluster);
    expect((await run('schedule', 'set', demoCluster, '--deep', '--cron', '0 5 * * 0')).exitCode).toBe(2);
    const set = await run('schedule', 'set', demoCluster, '--verify', '--cron', '0 5 * * 0', '--json');
    expect(documentOf(set)).toMatchObject({ ok: true, schedule: { operation: 'verify', scheduleId: 'verify-schedule/shop' } });
    const missing = await run('schedule', 'trigger', demoCluster, '--json');
    expect(errorCodeOf(missing)).toBe('NOT_FOUND');
    const ended = (status: string) =>
      waitUntil(
        () =>
          withTemporal(shop.site, async (client) => {
            const found = await executions(client, `WorkflowType = 'scheduledVerification' AND ExecutionStatus = '${status}'`);
            return found.length > 0;
          }),
        { timeoutMs: 60_000, pollMs: 500, description: `a scheduled verification has ${status}` },
      );
    expect((await run('schedule', 'trigger', demoCluster, '--verify')).exitCode).toBe(0);
    await ended('Completed');
    const [backup] = await shop.site.client.listBackups({ cluster: demoCluster });
    const [firstTar = ''] = (await listKeys(store, tarPartitionsPrefix(backup!.name))).keys();
    await using _removed = await remove(store, firstTar);
    expect((await run('schedule', 'trigger', demoCluster, '--verify')).exitCode).toBe(0);
    await ended('Failed');
    expect((await run('schedule', 'delete', demoCluster, '--verify')).exitCode).toBe(0);
  });
});
