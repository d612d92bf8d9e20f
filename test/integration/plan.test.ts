/** What `--plan` tells, that it does nothing, and that a restore is refused for the same reasons before any work. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsPrefix, walKey } from '../../src/archive/layout.ts';
import type { PlanReport } from '../../src/client/index.ts';
import { demoCluster, type DemoSite } from '../../src/demo/demo-site.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { CheckVerdict, PlanCheck, PlanCheckName } from '../../src/domain/plan-check.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from './cli/run-cli.ts';
import { querySource, restoreArguments, restoreRequest, type Shop, startShop } from './cli/shop.ts';
import { executions, scheduledActivities, withTemporal } from './cli/temporal.ts';
import { listKeys, openArchive, remove } from './faults/stored-objects.ts';

let shop: Shop;
let site: DemoSite;
/** A host that nobody has ever heard of is waited for; the tests go on meanwhile. */
let onTheMoon: Promise<PlanReport>;

beforeAll(async () => {
  shop = await startShop();
  ({ site } = shop);
  onTheMoon = site.client.planRestore(await restoreRequest(shop, 'moon', { host: 'moon' }));
});
afterAll(() => site?.[Symbol.asyncDispose]());

function checkOf(plan: PlanReport, name: PlanCheckName): PlanCheck | undefined {
  return plan.checks.find((check) => check.name === name);
}

function namesWith(plan: PlanReport, verdict: CheckVerdict): string[] {
  return plan.checks.filter((check) => check.verdict === verdict).map(({ name }) => name);
}

/** All that a restore would change before its directory is made. */
async function traces(): Promise<object> {
  await using store = openArchive(site, demoCluster);
  const folder = join(site.directory, 'agent', 'restored');
  const [row] = await querySource<{ segment: string }>(site, 'SELECT pg_walfile_name(pg_current_wal_insert_lsn()) AS segment');
  return {
    claimsInArchive: [...(await listKeys(store, claimsPrefix)).keys()],
    claimsOfAgent: existsSync(folder) ? await readdir(folder) : [],
    segment: row?.segment,
  };
}

/** Starts the agent anew with another free_disk_margin_mib. */
async function withDiskMargin(mebibytes: number): Promise<void> {
  const configuration = parse(await readFile(site.configFile, 'utf8')) as { host: Record<string, unknown> };
  configuration.host['free_disk_margin_mib'] = mebibytes;
  await writeFile(site.configFile, stringify(configuration));
  await agent.stop();
  agent = await site.start('agent');
}

let agent: DemoSite['agent'];

describe('walkback restore --plan', () => {
  it('prints the whole plan and does nothing', async () => {
    const before = await traces();
    const args = await restoreArguments(shop, 'looked-at', ['--plan', '--json']);
    const outcome = await runCli(site, args);
    expect([outcome.exitCode, outcome.stderr]).toEqual([0, '']);
    const { ok, plan } = documentOf(outcome) as { ok: boolean; plan: PlanReport };
    expect(ok).toBe(true);
    expect(new Set(Object.keys(plan))).toEqual(await documentedMembers('Plan report'));
    const [backup] = await site.client.listBackups({ cluster: demoCluster });
    expect(plan).toMatchObject({
      isPossible: true,
      backup: {
        name: backup?.name,
        kind: 'full',
        chain: [backup?.name],
        storedBytes: backup?.compressedBytes,
        restoredBytes: backup?.uncompressedBytes,
      },
      wal: { histories: [], ranges: [{ timeline: 1, first: backup?.startSegment }] },
      window: { earliest: { backup: backup?.name }, nearest: null, holes: [] },
    });
    expect(plan.backup?.why).toContain('Of 1 base backups it is the newest usable one that ended before');
    expect(plan.wal?.segmentsToTarget).toBeLessThanOrEqual(plan.wal?.segmentCount ?? 0);
    expect(plan.estimate?.totalMilliseconds).toBeGreaterThan(0);
    expect(namesWith(plan, 'refusal')).toEqual([]);
    expect(namesWith(plan, 'unknown')).toEqual([]);
    expect(namesWith(plan, 'ok')).toEqual(
      expect.arrayContaining(['archive', 'base-backup', 'port', 'disk', 'libraries', 'collations', 'programs']),
    );
    expect(await traces()).toEqual(before);
    expect(existsSync(join(site.directory, 'looked-at'))).toBe(false);
    const activities = await withTemporal(site, async (client) => {
      const runs = await executions(client, `WorkflowType = 'planRestore' AND ExecutionStatus = 'Completed'`);
      return await Promise.all(runs.map(({ workflowId }) => scheduledActivities(client, workflowId)));
    });
    for (const names of activities) expect(names).toEqual(['outlineRestore', 'inspectHost']);
  });

  it('is a page for people without --json', async () => {
    const { exitCode, stdout } = await runCli(site, await restoreArguments(shop, 'looked-at', ['--plan']));
    expect(exitCode).toBe(0);
    for (const line of [
      /^plan +shop as looked-at, on demo-host/m,
      /^base backup +base_/m,
      /^estimate +about .* replayed in /m,
      /^rates +fetch 100\.0 \w+\/s, assumed; replay 64\.0 \w+\/s, assumed$/m,
      /^port +ok +Port \d+ is free\.$/m,
    ])
      expect(stdout).toMatch(line);
    expect(stdout).toContain('Nothing was done. A restore by this plan can begin.');
  });

  it('refuses a target before the window, and names the nearest restorable instant', async () => {
    const [backup] = await site.client.listBackups({ cluster: demoCluster });
    const plan = await site.client.planRestore(
      await restoreRequest(shop, 'early', { target: { kind: 'time', time: parseInstant('2020-01-01T00:00:00Z') } }),
    );
    expect(checkOf(plan, 'base-backup')).toMatchObject({ verdict: 'refusal', refusal: { code: 'NO_BACKUP_BEFORE_TARGET' } });
    expect(plan).toMatchObject({ isPossible: false, backup: null, wal: null, estimate: null });
    expect(plan.window.nearest).toEqual({ before: null, after: parseInstant(backup?.finishTime ?? '') });
    // The place is looked at all the same.
    expect(checkOf(plan, 'port')?.verdict).toBe('ok');
  });

  it('A6: names a hole and the latest instant before it, and the whole of it with the other refusals', async () => {
    const switched = 'SELECT pg_walfile_name(pg_switch_wal()) AS name';
    const names: string[] = [];
    for (let count = 0; count < 3; count += 1) {
      await querySource(site, 'CREATE TABLE IF NOT EXISTS filler (n int); INSERT INTO filler VALUES (1)');
      names.push((await querySource<{ name: string }>(site, switched))[0]?.name ?? '');
    }
    await (await site.client.startVerify({ cluster: demoCluster })).result();
    const [, missing = ''] = names;
    await using store = openArchive(site, demoCluster);
    await using _hole = await remove(store, walKey(missing, 'zst'));
    const dataDirectory = join(site.directory, 'thesis');
    await mkdir(dataDirectory);
    await writeFile(join(dataDirectory, 'thesis.txt'), 'the only copy');
    const wanted = { target: { kind: 'latest' } as const, dataDirectory, port: site.source.server.port };
    const plan = await site.client.planRestore(await restoreRequest(shop, 'holed', wanted));
    expect(namesWith(plan, 'refusal')).toEqual(['wal', 'data-directory', 'port']);
    expect(checkOf(plan, 'wal')?.text).toContain(`The archive lacks the WAL ${missing}`);
    expect(plan.window.holes).toMatchObject([{ first: missing, last: missing, after: expect.stringMatching(/^2/) as string }]);
    expect(await readdir(dataDirectory)).toEqual(['thesis.txt']);
  });

  it('refuses when the room that has to remain is not there, and a restore does too', async () => {
    ({ agent } = site);
    await withDiskMargin(1_000_000_000);
    const request = await restoreRequest(shop, 'no-room');
    const plan = await site.client.planRestore(request);
    expect(checkOf(plan, 'disk')).toMatchObject({ verdict: 'refusal', refusal: { code: 'NOT_ENOUGH_DISK' } });
    const outcome = await runCli(site, await restoreArguments(shop, 'no-room', ['--json']));
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([3, 'NOT_ENOUGH_DISK']);
    expect(existsSync(request.dataDirectory)).toBe(false);
    await withDiskMargin(16);
  });

  it('refuses a host without a library of the source, as a restore does, unless that is allowed', async () => {
    await querySource(site, `CREATE FUNCTION gone() RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'`);
    await querySource(site, `UPDATE pg_proc SET probin = '$libdir/nowhere' WHERE proname = 'gone'`);
    await (await site.client.startBackup({ cluster: demoCluster })).result();
    const latest = { target: { kind: 'latest' } as const };
    const refusing = await site.client.planRestore(await restoreRequest(shop, 'no-library', latest));
    expect(namesWith(refusing, 'refusal')).toEqual(['libraries']);
    const before = await traces();
    const handle = await site.client.startRestore(await restoreRequest(shop, 'no-library', latest));
    await expect(handle.result()).rejects.toMatchObject({
      code: 'LIBRARY_MISSING',
      message: expect.stringContaining('$libdir/nowhere') as string,
    });
    expect(existsSync(join(site.directory, 'no-library'))).toBe(false);
    expect(await traces()).toMatchObject({ claimsOfAgent: (before as { claimsOfAgent: string[] }).claimsOfAgent });
    const args = ['--plan', '--json', '--allow-missing-libraries'];
    const [, , , , ...rest] = await restoreArguments(shop, 'no-library', args);
    const outcome = await runCli(site, ['restore', demoCluster, '--to', 'latest', ...rest]);
    const { plan } = documentOf(outcome) as { plan: PlanReport };
    expect([outcome.exitCode, checkOf(plan, 'libraries')?.verdict]).toEqual([0, 'warning']);
  });

  it('says that no agent answers, with all that the archive tells', async () => {
    const plan = await onTheMoon;
    expect(namesWith(plan, 'refusal')).toEqual(['agent']);
    expect(checkOf(plan, 'agent')?.refusal).toMatchObject({ code: 'NO_AGENT_ON_HOST' });
    expect(plan.backup).not.toBeNull();
  });
});
