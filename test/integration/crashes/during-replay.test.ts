/** PostgreSQL, the agent or the worker dies while WAL is replayed: the restore goes on, on the same directory, and lands as if nothing had been. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { demoAdmin } from '../../../src/demo/demo-site.ts';
import type { LandingReport } from '../../../src/domain/landing-report.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { stopServer } from '../../../src/postgres/process-control.ts';
import { readRecoveryProgress, resumeReplay } from '../../../src/postgres/recovery-progress.ts';
import { readMarker } from '../../../src/postgres/restore-marker.ts';
import { serverProcesses, serverState } from '../../../src/postgres/server-state.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { withTemporal } from '../cli/temporal.ts';
import { Scene, type StartedRestore, stepOf, untilPhase, untilReplayed, untilServer } from '../faults/scene.ts';
import type { Gate } from '../faults/store-troubles.ts';

/** More than are fetched ahead. */
const segmentCount = 12;
/** How long a start waits for what a killed server left (src/postgres/process-control.ts). */
const leftoversBoundMs = 15_000;
let scene: Scene;
let segments: string[];
let target: Awaited<ReturnType<Scene['noteTarget']>>;

beforeAll(async () => {
  scene = await Scene.open();
  segments = await scene.writeSegments(segmentCount);
  target = await scene.noteTarget();
});
afterEach(() => scene.store.end());
afterAll(async () => scene[Symbol.asyncDispose]());

interface HeldRestore extends StartedRestore {
  readonly gate: Gate;
}

/** A restore that has replayed half of the WAL and waits for the next segment. */
async function restoreHeldMidway(name: string): Promise<HeldRestore> {
  const [last, next] = [segments[segmentCount / 2 - 1]!, segments[segmentCount / 2]!];
  const gate = scene.store.hold('GetObject', next);
  const started = await scene.restore({ name, target: { kind: 'time', time: target.time } });
  await untilReplayed(started.request.dataDirectory, last);
  await untilPhase(started.handle, 'await-recovery');
  await waitUntil(() => gate.arrived.length > 0, { description: `${next} is asked for` });
  return { ...started, gate };
}

async function expectLanded(report: LandingReport): Promise<void> {
  expect(report).toMatchObject({ endReason: 'target-reached', timeline: 2 });
  expect(await scene.rowsOf(report)).toBe(target.rows);
}

/** A restore that waits at its target for a decision, and a session on its private socket. */
async function pausedRestore(name: string) {
  const { handle, request } = await scene.restore({ name, target: { kind: 'time', time: target.time }, atTarget: 'pause' });
  await untilPhase(handle, 'paused-at-target');
  const { pid, socketDirectory } = await untilServer(request.dataDirectory);
  const server = { host: socketDirectory ?? '', port: request.port, user: demoAdmin, database: 'postgres' };
  return { handle, request, connection: await connectServer(server), pid };
}

/** SIGKILL for the postmaster and others of its processes; the rest notices. */
async function killServer(dataDirectory: string, ...pids: number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await waitUntil(async () => (await serverProcesses(dataDirectory)).length === 0, { description: 'no process of the server is left' });
}

describe('a restore whose WAL is being replayed', () => {
  it('A9: goes on after kill -9 of PostgreSQL', async () => {
    const { handle, request, gate } = await restoreHeldMidway('postgres-killed');
    const { pid } = await untilServer(request.dataDirectory);
    process.kill(pid, 'SIGKILL');
    await waitUntil(async () => (await serverState(request.dataDirectory)).pid !== pid, { description: 'the server is dead' });
    gate.open();
    const report = await handle.result();
    await expectLanded(report);
    expect(report.steps.filter((step) => step.name === 'start-postgres').length).toBeGreaterThan(1);
    expect(report.steps.filter((step) => step.name === 'fetch-base-backup')).toHaveLength(1);
  });

  it('goes on when what kill -9 of PostgreSQL left is there for long', async () => {
    const { handle, request, gate } = await restoreHeldMidway('postgres-killed-long');
    const { pid } = await untilServer(request.dataDirectory);
    process.kill(pid, 'SIGKILL');
    // The process that replays hangs in restore_command, and holds the shared memory of the dead server.
    await waitUntil(async () => (await handle.progress()).steps.filter((step) => step.name === 'start-postgres').length > 1, {
      timeoutMs: leftoversBoundMs + 15_000,
      description: 'a start has been given up',
    });
    gate.open();
    await expectLanded(await handle.result());
  });

  it('A8: goes on after kill -9 of the worker, with another one', async () => {
    const { handle, gate } = await restoreHeldMidway('worker-killed');
    await scene.kill('worker');
    gate.open();
    await scene.start('worker');
    await expectLanded(await handle.result());
  });

  it('goes on after SIGTERM of the agent', async () => {
    const { handle, gate } = await restoreHeldMidway('agent-stopped');
    // It lets the request that PostgreSQL waits for come to its end.
    const stopped = scene.stop('agent');
    gate.open();
    await stopped;
    scene.store.end();
    await scene.start('agent');
    const report = await handle.result();
    await expectLanded(report);
    expect(stepOf(report, 'await-recovery')?.attempts).toBeGreaterThan(1);
  });

  it('waits for an agent that was killed, and goes on with the next one', async () => {
    const { handle, gate } = await restoreHeldMidway('agent-killed');
    await scene.kill('agent');
    gate.open();
    scene.store.end();
    // PostgreSQL waits in restore_command until somebody answers; Temporal finds out by the missing heartbeat.
    await scene.start('agent');
    const report = await handle.result();
    await expectLanded(report);
    expect(report.steps.filter((step) => step.name === 'start-postgres')).toHaveLength(1);
  });

  it('A9: is promoted, without another question, when PostgreSQL has died while it was paused', async () => {
    const wanted = { name: 'paused-killed', target: { kind: 'time', time: target.time }, atTarget: 'pause' } as const;
    const { handle, request } = await scene.restore(wanted);
    await untilPhase(handle, 'paused-at-target');
    const { pid } = await untilServer(request.dataDirectory);
    process.kill(pid, 'SIGKILL');
    await waitUntil(async () => (await serverState(request.dataDirectory)).pid !== pid, { description: 'the server is dead' });
    await handle.promote({ reason: 'it looks right' });
    const report = await handle.result();
    await expectLanded(report);
    expect(report.decisions.map(({ decision }) => decision)).toEqual(['promote']);
    expect(report.steps.filter((step) => step.name === 'start-postgres').length).toBeGreaterThan(1);
  });

  it('A9: lands by the log of the promotion, without another recovery, when PostgreSQL has died right behind it', async () => {
    const { handle, request, connection, pid } = await pausedRestore('promoted-killed');
    await resumeReplay(connection);
    await waitUntil(async () => !(await readRecoveryProgress(connection)).inRecovery, { description: 'it has left recovery' });
    await killServer(request.dataDirectory, pid);
    await handle.promote({ reason: 'it looks right' });
    const report = await handle.result();
    await expectLanded(report);
    expect(report.stop).toMatchObject({ kind: 'before', record: 'commit' });
    expect(report.firstCommitLeftOut).not.toBeNull();
  });

  it('A9: recovers to the target again when PostgreSQL has died within its promotion, and nothing behind the target comes along', async () => {
    const { handle, request, connection, pid } = await pausedRestore('promotion-killed');
    const checkpointer = Number(await connection.queryFirstValue(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`));
    process.kill(checkpointer, 'SIGSTOP');
    await resumeReplay(connection);
    const isThere = (path: string) => existsSync(join(request.dataDirectory, path));
    await waitUntil(() => isThere('pg_wal/00000002.history') && !isThere('recovery.signal'), {
      description: 'it is about to leave recovery',
    });
    await killServer(request.dataDirectory, pid, checkpointer);
    await handle.promote({ reason: 'it looks right' });
    const report = await handle.result();
    await expectLanded(report);
    expect(report.stop).toMatchObject({ kind: 'before', record: 'commit' });
  });

  it('goes on with a server that died while the restored data was asked questions', async () => {
    const checks = [{ sql: 'SELECT pg_sleep(1)', expected: '' }];
    const { handle, request } = await scene.restore({ name: 'checks-killed', target: { kind: 'time', time: target.time }, checks });
    await untilPhase(handle, 'run-checks');
    const { pid } = await untilServer(request.dataDirectory);
    await killServer(request.dataDirectory, pid);
    await expectLanded(await handle.result());
  });

  it('A19: lands beside another restore of the same instant, each in its own directory and on its own port', async () => {
    const wanted = { target: { kind: 'time', time: target.time } } as const;
    const started = await Promise.all(['first-of-two', 'second-of-two'].map((name) => scene.restore({ name, ...wanted })));
    const reports = await Promise.all(started.map(async ({ handle }) => handle.result()));
    for (const report of reports) await expectLanded(report);
    expect(new Set(reports.map(({ port }) => port)).size).toBe(2);
    expect(new Set(reports.map(({ dataDirectory }) => dataDirectory)).size).toBe(2);
  });
});

describe('a restore that was terminated, so that nothing was cleared away', () => {
  it('is refused when it is run again, by the marker and without touching anything, until a person has removed what it left', async () => {
    const { handle, request, connection, pid } = await pausedRestore('terminated');
    await connection[Symbol.asyncDispose]();
    await withTemporal(scene.site, (client) => client.workflow.getHandle(handle.workflowId).terminate('by mistake'));
    await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('terminated') as string });
    const { dataDirectory } = request;
    const again = async (changes: Partial<typeof request> = {}) => (await scene.restore({ ...request, ...changes })).handle.result();

    const whose = { facts: { dataDirectory, restoreId: handle.workflowId, phase: 'recovering' } };
    await expect(again()).rejects.toMatchObject({ code: 'DATA_DIRECTORY_IN_USE', ...whose });
    await expect(again({ dataDirectory: `${dataDirectory}-2` })).rejects.toMatchObject({ code: 'NAME_IN_USE' });
    expect((await serverState(dataDirectory)).pid).toBe(pid);
    await stopServer({ dataDirectory, mode: 'fast', timeoutMs: leftoversBoundMs });
    await expect(again()).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_NOT_EMPTY',
      message: expect.stringContaining(`what the restore "${handle.workflowId}" (recovering,`) as string,
      ...whose,
    });
    expect(await readMarker(dataDirectory)).toMatchObject({ phase: 'recovering' });
    await rm(dataDirectory, { recursive: true });
    await expectLanded(await again({ atTarget: 'promote' }));
  });
});
