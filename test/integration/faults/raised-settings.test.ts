/** A source whose settings were raised after the base backup: replay cannot go on with the lower ones (postgres-recovery.md, M6 and A16). */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { Scene, stepOf } from './scene.ts';

const restartTimeoutMs = 30_000;
let scene: Scene;

beforeAll(async () => {
  scene = await Scene.open();
});
afterAll(async () => scene[Symbol.asyncDispose]());

it('A16: a restore raises what the source raised after the base backup, on the same directory, and lands right', async () => {
  await scene.source(`ALTER SYSTEM SET max_connections = 137`);
  await scene.source(`ALTER SYSTEM SET max_locks_per_transaction = 99`);
  await restartSource();
  const target = await scene.noteTarget();
  const { handle } = await scene.restore({ name: 'raised', target: { kind: 'time', time: target.time } });
  const report = await handle.result();
  expect(await scene.rowsOf(report)).toBe(target.rows);
  expect(report.endReason).toBe('target-reached');
  expect(stepOf(report, 'raise-setting')).toBeDefined();
  expect(report.steps.filter((step) => step.name === 'fetch-base-backup')).toHaveLength(1);
});

async function restartSource(): Promise<void> {
  const { source, installation, directory } = scene.site;
  await stopServer({ dataDirectory: source.dataDirectory, mode: 'fast', timeoutMs: restartTimeoutMs });
  await startServer({
    binDirectory: installation.binDirectory,
    dataDirectory: source.dataDirectory,
    logFile: join(directory, 'source-again.log'),
    timeoutMs: restartTimeoutMs,
    until: 'accepting',
  });
}
