/** A source whose settings were raised after the base backup: replay cannot go on with the lower ones (postgres-recovery.md, M6 and A16). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { demoCluster } from '../../../src/demo/demo-site.ts';
import { inspectMachine } from '../../../src/postgres/machine.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { Scene, stepOf, untilPhase } from './scene.ts';

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

it('recovers with larger buffers and seldom restartpoints, and opens with the settings of the source: nothing of it is left', async () => {
  const names = [
    'shared_buffers',
    'max_wal_size',
    'autovacuum',
    'restart_after_crash',
    'recovery_target_time',
    'checkpoint_timeout',
    'restore_command',
  ];
  const list = names.map((name) => `'${name}'`).join(', ');
  const sql = `SELECT json_object_agg(name, current_setting(name)) FROM pg_settings WHERE name IN (${list})`;
  const settingsAt = async (place: Parameters<Scene['valueOf']>[0]) =>
    JSON.parse(await scene.valueOf(place, sql)) as Record<string, string>;
  await scene.source(`ALTER SYSTEM SET autovacuum = on`);
  await scene.source(`ALTER SYSTEM SET max_wal_size = '2GB'`);
  await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
  const target = await scene.noteTarget();
  const { handle, request } = await scene.restore({ name: 'buffers', target: { kind: 'time', time: target.time }, atTarget: 'pause' });
  await untilPhase(handle, 'paused-at-target');
  const [, , , , socketDirectory = ''] = (await readFile(join(request.dataDirectory, 'postmaster.pid'), 'utf8')).split('\n');
  const recovering = await settingsAt({ socketDirectory, port: request.port });
  const { freeMemoryBytes } = await inspectMachine();
  expect(recovering).toMatchObject({ max_wal_size: '4GB', autovacuum: 'off', restart_after_crash: 'off' });
  expect(bytesOf(recovering['shared_buffers'])).toBeGreaterThanOrEqual(128 * mebibyte);
  expect(bytesOf(recovering['shared_buffers'])).toBeLessThanOrEqual(Math.max(128 * mebibyte, freeMemoryBytes));
  await handle.promote();
  const report = await handle.result();
  expect(await settingsAt(report)).toEqual({
    shared_buffers: '32MB',
    max_wal_size: '2GB',
    autovacuum: 'on',
    restart_after_crash: 'on',
    recovery_target_time: '',
    checkpoint_timeout: '5min',
    restore_command: '',
  });
  expect(await scene.rowsOf(report)).toBe(target.rows);
});

const mebibyte = 1024 * 1024;

/** `128MB`, `1GB` */
function bytesOf(text = ''): number {
  return Number.parseInt(text, 10) * (text.endsWith('GB') ? 1024 * mebibyte : mebibyte);
}

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
