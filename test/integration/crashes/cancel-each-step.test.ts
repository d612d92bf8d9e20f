/**
 * A restore is cancelled in each of its steps in turn, at the worst moment: the agent has the step in its hands and has not begun it, so that the
 * step and the tidying after it meet. All restores want the same name and port, so each start proves that the one before gave them back.
 */
import { access, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { landingReportsPrefix, tarPartitionsPrefix } from '../../../src/archive/layout.ts';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { freePort } from '../../../src/demo/local-services/free-port.ts';
import { parseInstant } from '../../../src/domain/instant.ts';
import type { RecoveryTarget } from '../../../src/domain/recovery-target.ts';
import type { RestoreRequest } from '../../../src/domain/restore-request.ts';
import { readFence } from '../../../src/postgres/fence.ts';
import { startServer } from '../../../src/postgres/process-control.ts';
import { readMarker } from '../../../src/postgres/restore-marker.ts';
import { serverState } from '../../../src/postgres/server-state.ts';
import { markedProcesses } from '../../harness/processes.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { expectAbandoned, expectAbsent, expectNoProcess } from '../faults/left-behind.ts';
import { type StartedRestore, untilPhase, untilServer } from '../faults/scene.ts';
import { damage, listKeys, openArchive } from '../faults/stored-objects.ts';
import { HeldSteps } from './held-steps.ts';

/** Twenty restores on a busy machine. */
const testTimeoutMs = 8 * 60_000;
const startTimeoutMs = 60_000;
/** A heartbeat carries it, every two seconds; then the server is stopped. */
const cancelBoundMs = 15_000;
/** Before a directory is made, and from then on. */
const beforeDirectory = ['checkHost', 'flushSource'];
const fromDirectory = [
  'createDataDirectory',
  'fetchBaseBackup',
  'configureRecovery',
  'startPostgres',
  'awaitRecovery',
  'swapRoles',
  'openToClients',
  'takeInventory',
  'runChecks',
];

/** The restores of one scene, one after the other. */
class Cancelled {
  readonly held: HeldSteps;
  readonly target: RecoveryTarget;
  readonly port: number;
  /** What they have left. */
  readonly directories: string[] = [];

  constructor(held: HeldSteps, target: RecoveryTarget, port: number) {
    this.held = held;
    this.target = target;
    this.port = port;
  }

  async start(directory: string, wanted: Partial<RestoreRequest> = {}): Promise<StartedRestore> {
    const { scene } = this.held;
    const dataDirectory = join(scene.site.directory, directory);
    return await scene.restore({ name: 'wanted', target: this.target, port: this.port, dataDirectory, ...wanted });
  }

  /** Starts a restore and cancels it when the agent has taken the step; then the agent goes on. */
  async at(
    step: string,
    wanted: Partial<RestoreRequest> = {},
    more: { readonly count?: number; readonly meanwhile?: (started: StartedRestore) => Promise<void> } = {},
  ): Promise<StartedRestore> {
    const thawAgent = this.held.scene.freeze('agent');
    const started = await this.start(`at-${step}`, wanted);
    const [thaw] = await Promise.all([this.held.comeTo(started, step, { thawAgent, count: more.count ?? 1 }), more.meanwhile?.(started)]);
    await started.handle.cancel();
    thaw();
    await this.expectEnded(started);
    return started;
  }

  async expectEnded({ handle, request: { dataDirectory } }: StartedRestore): Promise<void> {
    const startedMs = performance.now();
    await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(performance.now() - startedMs).toBeLessThan(cancelBoundMs);
    expect((await handle.progress()).status).toBe('cancelled');
    expectNoProcess(dataDirectory);
    expect(await registrations(this.held)).toEqual([]);
    this.directories.push(dataDirectory);
  }

  /** Later on too: no step that came late has touched what was given up. */
  async expectStillSo(): Promise<void> {
    for (const directory of this.directories) {
      expectNoProcess(directory);
      const marker = await readMarker(directory);
      if (marker !== undefined) expect(marker).toMatchObject({ phase: 'abandoned' });
      await expect(access(join(directory, 'global/pg_control'))).rejects.toMatchObject({ code: 'ENOENT' });
    }
    expect(await registrations(this.held)).toEqual([]);
  }
}

/** What the agent keeps on disk of restores and of clusters that no configuration names. */
async function registrations({ scene }: HeldSteps): Promise<string[]> {
  const found: string[] = [];
  for (const folder of ['restores', 'restored', 'clusters']) {
    const names = await readdir(join(scene.site.directory, 'agent', folder)).catch(() => []);
    found.push(...names.map((name) => `${folder}/${name}`));
  }
  return found;
}

describe.concurrent('A17: a restore that is cancelled while its agent has a step in its hands', { timeout: testTimeoutMs }, () => {
  it('leaves no process, no claim and no registration, whatever the step, and keeps the directory as evidence', async () => {
    await using held = await HeldSteps.open();
    const { scene } = held;
    const { site } = scene;
    await scene.writeSegments(1);
    await (await site.client.startBackup({ cluster: demoCluster })).result();
    await scene.writeSegments(1);
    const noted = await scene.noteTarget();
    const [closed = ''] = await scene.writeSegments(1);
    await scene.untilArchived(closed);
    const cancelled = new Cancelled(held, { kind: 'time', time: noted.time }, await freePort());
    for (const step of beforeDirectory) await expectAbsent((await cancelled.at(step)).request.dataDirectory);
    for (const step of fromDirectory) {
      // What was opened may have archived something, and the name of an archive in use is not given twice.
      const name = step === 'openToClients' ? 'opened' : 'wanted';
      const { request } = await cancelled.at(step, { name, source: 'leave' });
      // The tidying may have overtaken the step that makes the directory, which is refused then.
      const isMade = step !== 'createDataDirectory' || (await readMarker(request.dataDirectory)) !== undefined;
      await (isMade ? expectAbandoned(site, request.dataDirectory) : expectAbsent(request.dataDirectory));
    }
    const promote = async ({ handle }: StartedRestore) => {
      await untilPhase(handle, 'paused-at-target');
      await handle.promote();
    };
    const promoted = await cancelled.at('promotePaused', { atTarget: 'pause', source: 'leave' }, { meanwhile: promote });
    await expectAbandoned(site, promoted.request.dataDirectory);
    await expectAbandoned(site, await cancelAtOlderBackup(cancelled));
    await cancelled.expectStillSo();

    // The cluster is open by the time of the report: it stays, and the restore ends well.
    const gate = scene.store.hold('PutObject', landingReportsPrefix);
    const last = await cancelled.start('at-report');
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: startTimeoutMs, description: 'the report is being stored' });
    await last.handle.cancel();
    gate.open();
    const report = await last.handle.result();
    expect(report).toMatchObject({ name: 'wanted', port: cancelled.port });
    expect(await scene.rowsOf(report)).toBe(noted.rows);
  });

  it('is archived no more when it was about to open, and leaves a source that was to be salvaged, stopped or retired as it can be started', async () => {
    await using held = await HeldSteps.open();
    const { scene } = held;
    await scene.writeSegments(1);
    const now = async (): Promise<RecoveryTarget> => ({
      kind: 'time',
      time: parseInstant(await scene.valueOfSource('SELECT clock_timestamp()::text')),
    });
    const { time } = await scene.noteTarget();
    const cancelled = new Cancelled(held, { kind: 'time', time }, await freePort());
    const rows = await scene.rowsOfSource();

    await expectAbandoned(scene.site, await cancelWhileItOpens(cancelled));

    await killSource(held);
    await expectAbsent((await cancelled.at('salvageSource', { source: 'salvage' })).request.dataDirectory);
    await expectSourceStarts(held, rows);

    const stopping = { source: 'stop' } as const;
    await expectAbsent((await cancelled.at('stopSource', stopping)).request.dataDirectory);
    await expectSourceStarts(held, rows);

    await expectAbsent((await cancelled.at('retireSource', { ...stopping, retireHours: 1 })).request.dataDirectory);
    await expectSourceStarts(held, rows);

    // The end of the WAL is proven to be the state at the target, which is dropped for the second start.
    const dropped = await cancelled.at('configureRecovery', { ...stopping, target: await now() }, { count: 2 });
    await expectAbandoned(scene.site, dropped.request.dataDirectory);
    await expectSourceStarts(held, rows);

    await expectAbandoned(scene.site, await cancelWhileHostIsGone(cancelled));
    await cancelled.expectStillSo();
    await expectSourceStarts(held, rows);
  });
});

/** @returns the directory of a restore whose base backup is damaged, and which goes back to an older one */
async function cancelAtOlderBackup(cancelled: Cancelled): Promise<string> {
  const { scene } = cancelled.held;
  const newest = (await scene.site.client.listBackups({ cluster: demoCluster })).at(-1)?.name ?? '';
  await using store = openArchive(scene.site, demoCluster);
  const parts = [...(await listKeys(store, tarPartitionsPrefix(newest))).keys()];
  await using _damaged = await damage(store, parts.find((key) => key.includes('/part_')) ?? '');
  return (await cancelled.at('clearDataDirectory', { allowOlderBackup: true })).request.dataDirectory;
}

/** @returns the directory of a restore whose agent has begun to archive the restored cluster */
async function cancelWhileItOpens(cancelled: Cancelled): Promise<string> {
  const { scene } = cancelled.held;
  const thawAgent = scene.freeze('agent');
  const started = await cancelled.start('at-opening', { name: 'opening' });
  const thaw = await cancelled.held.comeTo(started, 'openToClients', { thawAgent });
  thaw();
  const isServed = async () => (await registrations(cancelled.held)).includes('clusters/opening.json');
  await waitUntil(isServed, { timeoutMs: startTimeoutMs, pollMs: 2, description: 'the cluster is archived' });
  const thawAgain = scene.freeze('agent');
  await started.handle.cancel();
  thawAgain();
  await cancelled.expectEnded(started);
  return started.request.dataDirectory;
}

/** @returns the directory of a restore that waits for a decision, since its host was gone */
async function cancelWhileHostIsGone(cancelled: Cancelled): Promise<string> {
  const { scene } = cancelled.held;
  const started = await cancelled.start('at-host-gone', { atTarget: 'pause', hostReturnsWithinMinutes: 0.1 });
  await untilPhase(started.handle, 'paused-at-target');
  await scene.stop('agent');
  await started.handle.promote();
  await untilPhase(started.handle, 'host-gone');
  await untilServer(started.request.dataDirectory);
  await scene.start('agent');
  await started.handle.cancel();
  await cancelled.expectEnded(started);
  return started.request.dataDirectory;
}

/** kill -9, with all that the server has started. */
async function killSource({ scene: { site } }: HeldSteps): Promise<void> {
  const { dataDirectory } = site.source;
  const { pid } = await untilServer(dataDirectory);
  process.kill(pid, 'SIGKILL');
  const mark = { variable: 'WALKBACK_NO_SUCH_VARIABLE=1', directory: dataDirectory };
  await waitUntil(() => markedProcesses(mark, new Set()).length === 0, { description: 'the source and what it started is gone' });
}

/** There is no fence around the source, which runs, or starts. */
async function expectSourceStarts({ scene }: HeldSteps, rows: string): Promise<void> {
  const { source, installation, directory } = scene.site;
  const { dataDirectory } = source;
  expect(await readFence(dataDirectory)).toBeUndefined();
  if (!(await serverState(dataDirectory)).running) {
    const logFile = join(directory, 'again.log');
    await startServer({ binDirectory: installation.binDirectory, dataDirectory, logFile, timeoutMs: startTimeoutMs, until: 'accepting' });
  }
  expect(await scene.rowsOfSource()).toBe(rows);
}
