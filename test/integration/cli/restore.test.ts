import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LandingReport } from '../../../src/domain/landing-report.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { serverState } from '../../../src/postgres/server-state.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from './run-cli.ts';
import { withTemporal } from './temporal.ts';
import { restoreArguments, type Shop, shopRole, startShop } from './shop.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop?.site[Symbol.asyncDispose]());

interface StatusDocument {
  readonly ok: boolean;
  readonly workflowId: string;
  readonly status: string;
  readonly phase: string;
  readonly waitingFor: string | null;
  readonly steps: readonly { readonly name: string }[];
}

async function statusOf(id: string): Promise<StatusDocument> {
  return documentOf(await runCli(shop.site, ['status', id, '--json'])) as StatusDocument;
}

function idOf(name: string): string {
  return `restore/demo-host${join(shop.site.directory, name)}`;
}

describe('walkback restore', () => {
  it('walkback restore prints the landing report on stdout and one line a step on stderr when it waits on a pipe', async () => {
    const more = ['--role', `${shopRole}=shop_2,old=${shop.oldPasswordFile}`, '--check', 'SELECT count(*) FROM orders = 3'];
    const { exitCode, stdout, stderr } = await runCli(shop.site, await restoreArguments(shop, 'waited', more));
    expect(stderr).toContain(`Restore ${idOf('waited')} of shop to`);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^restored +shop as waited, on demo-host\n/);
    expect(stdout).toContain('check             ok: SELECT count(*) FROM orders = 3');
    expect(stdout).toContain('old password refused (login-attempt)');
    const told = stderr.split('\n').flatMap((line) => /^ {2}([a-z-]+): [\d.]+ s/.exec(line)?.[1] ?? []);
    expect(told).toEqual([
      'plan',
      'check-host',
      'flush-source',
      'prove-wal',
      'create-data-directory',
      'fetch-base-backup',
      'configure-recovery',
      'start-postgres',
      'await-recovery',
      'swap-roles',
      'take-inventory',
      'run-checks',
      'open-to-clients',
      'report',
    ]);
    expect(stderr).not.toContain('\u001B');
  });

  it('walkback restore prints one JSON document and nothing else on stdout when it is given --json', async () => {
    const outcome = await runCli(shop.site, await restoreArguments(shop, 'as-json', ['--json']));
    expect(outcome.exitCode).toBe(0);
    const { ok, workflowId, report } = documentOf(outcome) as { ok: boolean; workflowId: string; report: LandingReport };
    expect({ ok, workflowId }).toEqual({ ok: true, workflowId: idOf('as-json') });
    // Nothing was salvaged: then that member is absent.
    const members = new Set([...(await documentedMembers('Landing report'))].filter((member) => member !== 'salvage'));
    expect(new Set(Object.keys(report))).toEqual(members);
    expect(report).toMatchObject({ name: 'as-json', endReason: 'target-reached', timeline: 2, lockedRoles: [shopRole] });
  });

  it('walkback report and lineage tell from the archive alone where a restore landed and whom it comes from, by id and by name', async () => {
    const down = { ...shop.site, environment: { ...shop.site.environment, TEMPORAL_ADDRESS: '127.0.0.1:1' } };
    const outcome = await runCli(down, ['report', idOf('as-json'), '--json']);
    const { report, workflowId } = documentOf(outcome) as { workflowId: string; report: LandingReport };
    expect({ exitCode: outcome.exitCode, workflowId }).toEqual({ exitCode: 0, workflowId: idOf('as-json') });
    // The third order is the last commit kept, the fourth the first left out; both are named, with their transactions.
    const { lastCommitKept, firstCommitLeftOut } = report;
    expect(Number(firstCommitLeftOut?.xid)).toBe(Number(lastCommitKept?.xid) + 1);
    expect(report).toMatchObject({ cluster: 'shop', parentTimeline: 1, recoveryStarts: 1, fetchedParts: expect.any(Number) as number });
    expect(report.parentArchive).toBe(shop.site.s3.url('shop'));
    const text = await runCli(down, ['report', 'as-json']);
    expect(text.stdout).toMatch(/\nSteps\n {2}plan +[\d.]+ s/);
    expect(text.stdout).toMatch(/PostgreSQL said\n.*recovery stopping before commit/s);
    expect(await shop.site.client.landingReport('as-json')).toEqual(report);
    const details = await withTemporal(shop.site, (client) =>
      client.workflow.getHandle(idOf('as-json')).query<{ currentDetails?: string }>('__temporal_workflow_metadata'),
    );
    expect(details.currentDetails).toContain('**first left out:**');

    const lineage = await runCli(down, ['lineage', 'shop']);
    expect(lineage.stdout).toMatch(/^shop \*\n├─ waited {2}left timeline 1 for 2 at .*\n└─ as-json {2}left/);
    const document = documentOf(await runCli(down, ['lineage', 'waited', '--json'])) as {
      root: { name: string; children: { name: string }[] };
    };
    expect([document.root.name, ...document.root.children.map(({ name }) => name)]).toEqual(['shop', 'waited', 'as-json']);
    expect((await shop.site.client.lineage({ cluster: 'waited' })).root).toEqual(document.root);
    // Its source runs on: there is nothing to undo.
    const undone = await runCli(shop.site, ['undo', idOf('as-json'), '--json']);
    expect([undone.exitCode, errorCodeOf(undone)]).toEqual([3, 'NOT_RETIRED']);
    const unknown = await runCli(down, ['report', 'nobody', '--json']);
    expect([unknown.exitCode, errorCodeOf(unknown)]).toEqual([3, 'NOT_FOUND']);
  });

  it('walkback restore prints the id when it does not wait; status and promote take it from there, and the paused server can be read', async () => {
    const args = await restoreArguments(shop, 'paused', ['--at-target', 'pause', '--no-wait', '--json']);
    const started = await runCli(shop.site, args);
    expect(started.exitCode).toBe(0);
    const id = idOf('paused');
    expect(documentOf(started)).toEqual({ ok: true, workflowId: id });
    const paused = await waitUntil(
      async () => {
        const status = await statusOf(id);
        return status.phase === 'paused-at-target' ? status : undefined;
      },
      { timeoutMs: 40_000, pollMs: 500, description: 'the restore is paused' },
    );
    expect(paused).toMatchObject({ ok: true, workflowId: id, status: 'running', waitingFor: expect.stringContaining('promote') as string });
    expect(await readPaused('paused', 'SELECT count(*)::text AS value FROM orders')).toBe('3');
    await expect(readPaused('paused', 'DELETE FROM orders RETURNING id::text AS value')).rejects.toThrow(/read-only|recovery/);
    const members = await documentedMembers('status');
    expect(Object.keys(paused).filter((member) => !members.has(member))).toEqual([]);
    const undone = await runCli(shop.site, ['undo', id, '--json']);
    expect([undone.exitCode, errorCodeOf(undone)]).toEqual([3, 'ALREADY_RUNNING']);
    const text = await runCli(shop.site, ['status', id]);
    expect(text.stdout).toContain('paused-at-target: Paused at the target, read-only on the private socket');
    expect(text.stdout).toContain('waiting for the update `promote`, `advance` (a later target) or `abort`, or cancel');

    const promoted = await runCli(shop.site, ['promote', id, '--json']);
    expect(promoted.exitCode).toBe(0);
    expect(documentOf(promoted)).toMatchObject({ ok: true, workflowId: id, report: { endReason: 'target-reached', timeline: 2 } });
    expect(await statusOf(id)).toMatchObject({ status: 'completed', phase: 'done' });
    const again = await runCli(shop.site, ['promote', id, '--json']);
    expect(again.exitCode).toBe(3);
    expect(errorCodeOf(again)).toBe('NOT_PAUSED');
  });

  it('walkback cancel stops a restore, keeps its directory and leaves no server; the one who waits gets CANCELLED', async () => {
    const waiting = runCli(shop.site, await restoreArguments(shop, 'cancelled', ['--at-target', 'pause', '--json']));
    const id = idOf('cancelled');
    await waitUntil(async () => (await statusOf(id)).phase === 'paused-at-target', {
      timeoutMs: 40_000,
      pollMs: 500,
      description: 'the restore is paused',
    });
    const cancelled = await runCli(shop.site, ['cancel', id]);
    expect(cancelled.exitCode).toBe(0);
    expect(cancelled.stdout).toContain(`walkback status ${id}`);
    const ended = await waiting;
    expect(ended.exitCode).toBe(1);
    expect(errorCodeOf(ended)).toBe('CANCELLED');
    expect(ended.stderr).toContain('Waiting for a decision');
    const directory = join(shop.site.directory, 'cancelled');
    expect(existsSync(join(directory, 'PG_VERSION'))).toBe(true);
    expect(existsSync(join(directory, 'global/pg_control'))).toBe(false);
    expect((await serverState(directory)).running).toBe(false);
    expect(await statusOf(id)).toMatchObject({ status: 'cancelled', phase: 'failed' });
  });

  it('walkback status, promote and cancel say NOT_FOUND when no operation has the id', async () => {
    for (const command of ['status', 'promote', 'cancel']) {
      const outcome = await runCli(shop.site, [command, 'restore/demo-host/nowhere', '--json']);
      expect([command, outcome.exitCode, errorCodeOf(outcome)]).toEqual([command, 3, 'NOT_FOUND']);
    }
  });
});

/** The first value of a query on a paused server, over its private socket. */
async function readPaused(name: string, sql: string): Promise<string | undefined> {
  const lockFile = join(shop.site.directory, name, 'postmaster.pid');
  const [, , , port, socketDirectory = ''] = (await readFile(lockFile, 'utf8')).split('\n');
  await using connection = await connectServer({ host: socketDirectory, port: Number(port), user: 'postgres', database: 'postgres' });
  const [row] = await connection.query<{ value: string }>(sql);
  return row?.value;
}
