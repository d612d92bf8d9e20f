/** Cancelling ends a restore within seconds at whatever step, leaves no process, and gives back what the restore had taken. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { demoHost } from '../../../src/demo/demo-site.ts';
import { freePort } from '../../../src/demo/local-services/free-port.ts';
import type { RestoreRequest } from '../../../src/domain/restore-request.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { expectAbandoned, expectAbsent, expectNoProcess } from './left-behind.ts';
import { Scene, type StartedRestore, untilPhase, untilServer } from './scene.ts';
import type { Gate } from './store-troubles.ts';

/** A heartbeat carries it, every two seconds; then the server is stopped. */
const cancelBoundMs = 12_000;
/** Longer than any test. */
const slowCheck = { sql: `SELECT pg_sleep(600)`, expected: '' };
let scene: Scene;
let segments: string[];
let target: Awaited<ReturnType<Scene['noteTarget']>>;
let port: number;
let gates: Gate[] = [];

beforeAll(async () => {
  scene = await Scene.open();
  segments = await scene.writeSegments(2);
  target = await scene.noteTarget();
  port = await freePort();
});
afterEach(() => {
  scene.store.end();
  for (const gate of gates) gate.open();
  gates = [];
});
afterAll(async () => scene[Symbol.asyncDispose]());

/** All restores want the same name and port: each start proves that the one before gave them back. */
async function start(directory: string, wanted: Partial<RestoreRequest> = {}): Promise<StartedRestore> {
  const dataDirectory = join(scene.site.directory, directory);
  return await scene.restore({ name: 'wanted', target: { kind: 'time', time: target.time }, port, dataDirectory, ...wanted });
}

/** Requests on such keys wait until the test is over. */
function hold(operation: string, keyPart: string): Gate {
  const gate = scene.store.hold(operation, keyPart);
  gates.push(gate);
  return gate;
}

async function untilHeld(gate: Gate): Promise<void> {
  await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 30_000, description: 'a request is held' });
}

async function expectCancelled({ handle, request }: StartedRestore): Promise<void> {
  const startedMs = performance.now();
  await handle.cancel();
  await expect(handle.result()).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(performance.now() - startedMs).toBeLessThan(cancelBoundMs);
  expect((await handle.progress()).status).toBe('cancelled');
  expectNoProcess(request.dataDirectory);
}

describe('A17: a restore that is cancelled', () => {
  it('ends at the step plan, and has made nothing', async () => {
    const gate = hold('ListObjectsV2', '');
    const started = await start('at-plan');
    await untilHeld(gate);
    await expectCancelled(started);
    await expectAbsent(started.request.dataDirectory);
  });

  it('ends at the step flush-source, and has made nothing', async () => {
    const gate = hold('PutObject', '/wal_005/');
    const started = await start('at-flush');
    await untilHeld(gate);
    await untilPhase(started.handle, 'flush-source');
    await expectCancelled(started);
    await expectAbsent(started.request.dataDirectory);
  });

  it('ends at the step prove-wal, and has made nothing', async () => {
    const { promise: until, resolve: open } = Promise.withResolvers<void>();
    const arrived: string[] = [];
    gates.push({ until, arrived, open });
    // The first reading of the sentinel is of the step plan, the second of check-host.
    scene.store.make(({ operation, key }) => {
      if (operation !== 'GetObject' || !key.endsWith('_backup_stop_sentinel.json')) return undefined;
      arrived.push(key);
      return arrived.length < 3 ? undefined : { kind: 'hold-request', until };
    });
    const started = await start('at-prove');
    await untilPhase(started.handle, 'prove-wal');
    await waitUntil(() => arrived.length >= 3, { description: 'the archive is read again' });
    await expectCancelled(started);
    await expectAbsent(started.request.dataDirectory);
  });

  it('ends at the step fetch-base-backup, and keeps the directory as evidence', async () => {
    const gate = hold('GetObject', 'tar_partitions/part_');
    const started = await start('at-fetch');
    await untilHeld(gate);
    await expectCancelled(started);
    await expectAbandoned(scene.site, started.request.dataDirectory);
  });

  it('ends at the step await-recovery, and keeps the directory as evidence', async () => {
    const gate = hold('GetObject', segments[1]!);
    const started = await start('at-replay');
    await untilHeld(gate);
    await untilServer(started.request.dataDirectory);
    await untilPhase(started.handle, 'await-recovery');
    await expectCancelled(started);
    await expectAbandoned(scene.site, started.request.dataDirectory);
  });

  it('ends while it is paused at its target, and keeps the directory as evidence', async () => {
    const started = await start('at-pause', { atTarget: 'pause' });
    await untilPhase(started.handle, 'paused-at-target');
    await expectCancelled(started);
    await expectAbandoned(scene.site, started.request.dataDirectory);
  });

  it('ends at the step swap-roles, and keeps the directory as evidence', async () => {
    await scene.source('CREATE ROLE clerk LOGIN');
    const { time } = await scene.noteTarget();
    const roles = [{ role: 'clerk', newName: 'clerk_2', password: { kind: 'generate' } }] as const;
    const started = await start('at-swap', { target: { kind: 'time', time }, roles, checks: [slowCheck] });
    await waitUntil(async () => (await started.handle.progress()).steps.some((step) => step.name === 'await-recovery'), {
      timeoutMs: 30_000,
      description: 'recovery is over',
    });
    await expectCancelled(started);
    await expectAbandoned(scene.site, started.request.dataDirectory);
  });

  it('ends while a check runs, and keeps the directory as evidence', async () => {
    const started = await start('at-check', { checks: [slowCheck] });
    await untilPhase(started.handle, 'run-checks');
    await expectCancelled(started);
    await expectAbandoned(scene.site, started.request.dataDirectory);
  });

  it('has given back name and port: the same ones serve a restore into another directory', async () => {
    const { handle, request } = await start('at-last');
    const report = await handle.result();
    expect(report).toMatchObject({ name: 'wanted', host: demoHost, port, dataDirectory: request.dataDirectory });
    expect(await scene.rowsOf(report)).toBe(target.rows);
  });
});
