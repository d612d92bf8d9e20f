/** Retention on a real archive: by the command, during a restore, and over the death of the worker. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsPrefix, removalMarksPrefix, sentinelKey, tarPartitionsPrefix, walPrefix } from '../../../src/archive/layout.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import type { PruneReport } from '../../../src/domain/prune-report.ts';
import { documentedMembers, documentOf, errorCodeOf, runCli } from '../cli/run-cli.ts';
import { executions, withTemporal } from '../cli/temporal.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene, untilPhase } from './scene.ts';
import { listKeys, openArchive } from './stored-objects.ts';

interface PruneDocument {
  readonly ok: boolean;
  readonly plan: PruneReport;
  readonly removed: PruneReport | null;
}

let scene: Scene;
/** Names of three base backups, the oldest first. */
let backups: readonly string[];
/** Between the first and the second of them. */
let early: Awaited<ReturnType<Scene['noteTarget']>>;

const run = (...args: readonly string[]) => runCli(scene.site, args);

async function namesInArchive(): Promise<readonly string[]> {
  return (await scene.site.client.listBackups({ cluster: demoCluster })).map(({ name }) => name);
}

beforeAll(async () => {
  scene = await Scene.open();
  early = await scene.noteTarget();
  for (let taken = 0; taken < 2; taken += 1) {
    await scene.writeSegments(2);
    await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
  }
  await scene.untilArchived((await scene.writeSegments(1)).at(-1) ?? '');
  backups = await namesInArchive();
  expect(backups).toHaveLength(3);
});
afterAll(() => scene?.[Symbol.asyncDispose]());

/** A test here builds on the one before: the archive gets smaller. */
describe('retention', () => {
  it('walkback prune removes nothing of what a running restore needs, and the restore ends right', async () => {
    const { handle } = await scene.restore({ name: 'claimed', target: { kind: 'time', time: early.time }, atTarget: 'pause' });
    await untilPhase(handle, 'paused-at-target');
    const outcome = await run('prune', demoCluster, '--keep-full', '1', '--confirm', '--json');
    expect(outcome.exitCode).toBe(0);
    const { removed } = documentOf(outcome) as PruneDocument;
    expect(removed).toMatchObject({ remove: [], claims: [{ restore: handle.workflowId, backup: backups[0] }] });
    expect(await namesInArchive()).toEqual(backups);
    await handle.promote();
    const report = await handle.result();
    expect(report.backup).toBe(backups[0]);
    expect(await scene.rowsOf(report)).toBe(early.rows);
    await using archive = openArchive(scene.site, demoCluster);
    expect((await listKeys(archive, claimsPrefix)).size).toBe(0);
  });

  it('walkback prune says what would go and why the rest stays, and a dry run removes nothing', async () => {
    await using archive = openArchive(scene.site, demoCluster);
    const before = await listKeys(archive, '');
    const text = await run('prune', demoCluster, '--keep-full', '1', '--keep-days', '1');
    expect(text.stdout).toMatch(/^shop: 0 objects, 0 B would be removed\. This was a dry run/);
    const outcome = await run('prune', demoCluster, '--keep-full', '2', '--json');
    const document = documentOf(outcome) as PruneDocument;
    expect(new Set(Object.keys(document))).toEqual(await documentedMembers('prune'));
    expect(new Set(Object.keys(document.plan))).toEqual(await documentedMembers('Retention report'));
    expect(document).toMatchObject({
      ok: true,
      removed: null,
      plan: { remove: [{ backup: backups[0], isDelta: false }], confirmed: false },
    });
    expect(document.plan.wal.files).toBeGreaterThan(0);
    expect(await listKeys(archive, '')).toEqual(before);
    for (const args of [[], ['--keep-full', 'many'], ['--keep-days', '0']])
      expect((await run('prune', demoCluster, ...args)).exitCode).toBe(2);
    expect(errorCodeOf(await run('prune', demoCluster, '--keep-full', '0', '--confirm', '--json'))).toBe('PRUNE_REFUSED');
  });

  it('walkback backup-mark keeps a backup from retention, and takes the mark away again', async () => {
    const marked = await run('backup-mark', demoCluster, backups[0] ?? '', '--permanent', '--json');
    expect(new Set(Object.keys(documentOf(marked) as object))).toEqual(await documentedMembers('backup-mark'));
    expect(documentOf(marked)).toEqual({ ok: true, cluster: demoCluster, backup: backups[0], isPermanent: true, changed: [backups[0]] });
    const { plan } = documentOf(await run('prune', demoCluster, '--keep-full', '2', '--json')) as PruneDocument;
    expect([plan.remove, plan.keep.find(({ backup }) => backup === backups[0])?.reason]).toEqual([[], 'permanent']);
    expect((await run('backup-mark', demoCluster, backups[0] ?? '', '--impermanent')).stdout).toBe(`${backups[0]}: impermanent now.`);
    expect((await run('backup-mark', demoCluster, backups[0] ?? '')).exitCode).toBe(2);
    expect(errorCodeOf(await run('backup-mark', demoCluster, 'base_000000010000000000000099', '--permanent', '--json'))).toBe('NOT_FOUND');
  });

  it('walkback prune ends what it has begun when the worker is killed in the middle', async () => {
    const { store } = scene;
    const { promise: until, resolve: goOn } = Promise.withResolvers<void>();
    const held: string[] = [];
    let removals = 0;
    // The sentinels go; then nothing more.
    store.make(({ operation }) => {
      if (operation !== 'DeleteObjects') return undefined;
      removals += 1;
      if (removals < 2) return undefined;
      held.push(operation);
      return { kind: 'hold-request', until };
    });
    const handle = await scene.site.client.startPrune({ cluster: demoCluster, keepFull: 1, confirm: true });
    await waitUntil(() => held.length > 0, { timeoutMs: 60_000, description: 'a removal is held' });
    await scene.kill('worker');
    goOn();
    store.end();
    await scene.start('worker');
    const { removed } = await handle.result();
    expect(removed?.keep.map(({ backup }) => backup)).toEqual([backups[2]]);
    expect(await namesInArchive()).toEqual(backups.slice(2));
    await using archive = openArchive(scene.site, demoCluster);
    for (const gone of backups.slice(0, 2)) expect((await listKeys(archive, tarPartitionsPrefix(gone))).size).toBe(0);
    expect((await listKeys(archive, removalMarksPrefix)).size).toBe(0);
    const firstSegment = `${walPrefix}${(backups[2] ?? '').slice('base_'.length)}`;
    const segments = [...(await listKeys(archive, walPrefix)).keys()];
    expect(segments.filter((key) => key < firstSegment)).toEqual([]);
    expect(segments.some((key) => key.startsWith(firstSegment))).toBe(true);
    expect(await archive.head(sentinelKey(backups[2] ?? ''))).toBeDefined();
    expect((await run('verify', demoCluster, '--deep')).exitCode).toBe(0);
  });

  it('what retention kept can be restored, and what it let go is refused with the first instant that can be', async () => {
    const { handle } = await scene.restore({ name: 'too-early', target: { kind: 'time', time: early.time } });
    await expect(handle.result()).rejects.toMatchObject({ code: 'NO_BACKUP_BEFORE_TARGET' });
    const target = await scene.noteTarget();
    const kept = await scene.restore({ name: 'kept', target: { kind: 'time', time: target.time } });
    const report = await kept.handle.result();
    expect(report.backup).toBe(backups[2]);
    expect(await scene.rowsOf(report)).toBe(target.rows);
  });

  it('a schedule of retention has to be confirmed, and prunes', async () => {
    const rules = ['--prune', '--keep-full', '1', '--cron', '0 4 * * *'];
    expect((await run('schedule', 'set', demoCluster, ...rules)).stderr).toContain('--confirm');
    const set = await run('schedule', 'set', demoCluster, ...rules, '--confirm', '--json');
    expect(documentOf(set)).toMatchObject({ ok: true, schedule: { operation: 'prune', scheduleId: 'prune-schedule/shop' } });
    await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
    expect((await run('schedule', 'trigger', demoCluster, '--prune')).exitCode).toBe(0);
    await waitUntil(
      () =>
        withTemporal(scene.site, async (client) => {
          return (await executions(client, `WorkflowType = 'scheduledPrune' AND ExecutionStatus = 'Completed'`)).length > 0;
        }),
      { timeoutMs: 60_000, pollMs: 500, description: 'a scheduled retention run has completed' },
    );
    expect(await namesInArchive()).toHaveLength(1);
    expect((await run('schedule', 'delete', demoCluster, '--prune')).exitCode).toBe(0);
  });

  it('a cancelled run is told to be over only when nothing is removed any more', async () => {
    await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
    const gate = scene.store.hold('DeleteObjects', '');
    const handle = await scene.site.client.startPrune({ cluster: demoCluster, keepFull: 1, confirm: true });
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 60_000, description: 'a removal is on its way' });
    await handle.cancel();
    await withTemporal(scene.site, async (client) => {
      const workflow = client.workflow.getHandle(handle.workflowId);
      const eventsOf = async () => (await workflow.fetchHistory()).events ?? [];
      await waitUntil(async () => (await eventsOf()).some((event) => event.activityTaskCancelRequestedEventAttributes != null), {
        description: 'the workflow has heard of it',
      });
      // The answer to the first heartbeat tells the activity; when the second comes it has heard.
      const heartbeats = new Set<string>();
      await waitUntil(
        async () => {
          const [activity] = (await workflow.describe()).raw.pendingActivities ?? [];
          heartbeats.add(JSON.stringify(activity?.lastHeartbeatTime));
          return heartbeats.size > 2;
        },
        { description: 'the activity has heard of it' },
      );
      expect((await workflow.describe()).status.name).toBe('RUNNING');
      gate.open();
      await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
      expect((await eventsOf()).filter((event) => event.activityTaskCanceledEventAttributes != null)).toHaveLength(1);
    });
    scene.store.end();
    expect((await run('prune', demoCluster, '--keep-full', '1', '--confirm')).exitCode).toBe(0);
    expect((await run('verify', demoCluster, '--deep')).exitCode).toBe(0);
    expect(await namesInArchive()).toHaveLength(1);
  });

  it('a cancelled run whose worker is dead is cancelled all the same', async () => {
    await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
    const gate = scene.store.hold('DeleteObjects', '');
    const handle = await scene.site.client.startPrune({ cluster: demoCluster, keepFull: 1, confirm: true });
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 60_000, description: 'a removal is on its way' });
    await scene.kill('worker');
    await handle.cancel();
    await scene.start('worker');
    await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.open();
    scene.store.end();
    expect((await run('prune', demoCluster, '--keep-full', '1', '--confirm')).exitCode).toBe(0);
    expect(await namesInArchive()).toHaveLength(1);
  });
});
