import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackupSchedule } from '../../src/client/schedules.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { ScheduledBackupReport } from '../../src/workflows/contract.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from './cli/run-cli.ts';
import { type Shop, startShop } from './cli/shop.ts';
import { executions, withTemporal } from './cli/temporal.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop?.site[Symbol.asyncDispose]());

const run = (...args: readonly string[]) => runCli(shop.site, ['schedule', ...args]);

async function only(): Promise<BackupSchedule | undefined> {
  const { schedules } = documentOf(await run('list', '--json')) as { schedules: BackupSchedule[] };
  return schedules.find(({ cluster }) => cluster === 'shop');
}

/** The list is kept by Temporal's visibility store, which follows a moment later. */
function listed(is: (schedule: BackupSchedule) => boolean, description: string): Promise<BackupSchedule> {
  const look = async () => {
    const schedule = await only();
    return schedule !== undefined && is(schedule) ? schedule : undefined;
  };
  return waitUntil(look, { timeoutMs: 30_000, pollMs: 300, description });
}

async function backupNames(): Promise<string[]> {
  return (await shop.site.client.listBackups({ cluster: 'shop' })).map(({ name }) => name);
}

/** The result of a scheduled run that ended so. */
async function scheduledOutcome(wanted: ScheduledBackupReport['outcome']): Promise<ScheduledBackupReport | undefined> {
  return await withTemporal(shop.site, async (client) => {
    const ended = await executions(client, `WorkflowType = 'scheduledBaseBackup' AND ExecutionStatus = 'Completed'`);
    const reports = ended.map(
      ({ workflowId, runId }) => client.workflow.getHandle(workflowId, runId).result() as Promise<ScheduledBackupReport>,
    );
    return (await Promise.all(reports)).find(({ outcome }) => outcome === wanted);
  });
}

/** A test here builds on the one before: one schedule from its making to its end. */
describe('walkback schedule', () => {
  it('walkback schedule pause, resume, trigger and delete say NOT_FOUND when the cluster has none', async () => {
    for (const command of ['pause', 'resume', 'trigger', 'delete']) {
      const outcome = await run(command, 'shop', '--json');
      expect([command, outcome.exitCode, errorCodeOf(outcome)]).toEqual([command, 3, 'NOT_FOUND']);
      expect(outcome.stderr).toContain('walkback schedule set shop');
    }
  });

  it('walkback schedule set makes the schedule, and refuses a cron that is none', async () => {
    const refused = await run('set', 'shop', '--cron', 'every full moon', '--json');
    expect([refused.exitCode, errorCodeOf(refused)]).toEqual([2, 'INVALID_REQUEST']);
    const outcome = await run('set', 'shop', '--cron', '0 2 * * *', '--json');
    expect(outcome.exitCode).toBe(0);
    const { schedule } = documentOf(outcome) as { schedule: BackupSchedule };
    expect(schedule).toMatchObject({ cluster: 'shop', scheduleId: 'backup-schedule/shop', cron: '0 2 * * *', paused: false });
    const members = await documentedMembers('schedule');
    expect(Object.keys(schedule).filter((member) => !members.has(member))).toEqual([]);
    expect(schedule.nextRun).toMatch(/T02:00:00\.000Z$/);
    expect((await listed(() => true, 'the schedule is listed')).cron).toBe('0 2 * * *');
    expect((await run('list')).stdout).toMatch(
      /^CLUSTER +DOES +CRON \(UTC\) +STATE +NEXT +LAST +SKIPPED\nshop +backup +0 2 \* \* \* +on +/,
    );
  });

  it('walkback schedule set refuses a cluster that is not configured when it is set', async () => {
    const outcome = await run('set', 'shpo', '--cron', '0 2 * * *', '--json');
    expect([outcome.exitCode, errorCodeOf(outcome)]).toEqual([2, 'UNKNOWN_CLUSTER']);
    expect(outcome.stderr).toContain('did you mean shop?');
  });

  it('walkback schedule trigger takes a base backup under the fixed id', async () => {
    const before = await backupNames();
    expect((await run('trigger', 'shop')).stdout).toBe('The schedule of shop is triggered.');
    const after = await waitUntil(
      async () => {
        const names = await backupNames();
        return names.length > before.length ? names : undefined;
      },
      { timeoutMs: 40_000, pollMs: 500, description: 'the backup is in the archive' },
    );
    expect(after.slice(0, before.length)).toEqual(before);
    expect((await shop.site.client.getBackup('backup/shop').result()).backup.name).toBe(after.at(-1));
    expect((await listed(({ lastRun }) => lastRun !== undefined, 'the run is told')).runsSkipped).toBe(0);
  });

  it('walkback schedule trigger skips when a base backup runs already', async ({ skip }) => {
    const { client, s3 } = shop.site;
    const { server } = s3;
    if (server === undefined) return skip('the given S3 endpoint cannot be made to hold an upload');
    const before = await backupNames();
    // The running backup is held at its uploads, so that the trigger surely comes meanwhile.
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    server.faults = ({ method, key }) =>
      method !== 'GET' && key.includes('/tar_partitions/') ? { kind: 'hold-request', until: released } : undefined;
    try {
      const running = await client.startBackup({ cluster: 'shop' });
      await waitUntil(async () => (await running.progress()).phase === 'copy-files', { timeoutMs: 20_000, description: 'it copies' });
      await run('trigger', 'shop');
      const outcome = await waitUntil(() => scheduledOutcome('skipped'), {
        timeoutMs: 30_000,
        pollMs: 300,
        description: 'a scheduled run has skipped',
      });
      expect(outcome).toEqual({ outcome: 'skipped', reason: 'a base backup of shop is running already' });
      release();
      await running.result();
      expect(await backupNames()).toHaveLength(before.length + 1);
    } finally {
      release();
      server.faults = undefined;
    }
  });

  it('walkback schedule pause keeps its note over a new cron, and resume ends it', async () => {
    await run('pause', 'shop', '--note', 'migration');
    expect(await listed(({ paused }) => paused, 'it is paused')).toMatchObject({ note: 'migration' });
    expect((await run('list')).stdout).toContain('paused: migration');
    await run('set', 'shop', '--cron', '30 3 * * *');
    expect(await listed(({ cron }) => cron === '30 3 * * *', 'the new cron is told')).toMatchObject({ paused: true, note: 'migration' });
    await run('resume', 'shop');
    expect(await listed(({ paused }) => !paused, 'it is resumed')).toMatchObject({ cron: '30 3 * * *' });
  });

  it('walkback schedule delete removes it, and its backups stay', async () => {
    const before = await backupNames();
    expect((await run('delete', 'shop')).exitCode).toBe(0);
    await waitUntil(async () => (await only()) === undefined, { timeoutMs: 30_000, pollMs: 300, description: 'it is gone' });
    expect(await backupNames()).toEqual(before);
  });
});
