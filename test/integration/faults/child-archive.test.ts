/** A restored cluster archives to a prefix of its own, never to its parent's; and it can be backed up and restored like any other. */
import { readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { sentinelKey, walKey, walPrefix } from '../../../src/archive/layout.ts';
import { demoAdmin, demoCluster } from '../../../src/demo/demo-site.ts';
import type { LandingReport } from '../../../src/domain/landing-report.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { withTemporal } from '../cli/temporal.ts';
import { renderLandingReport } from '../../../src/domain/render-landing-report.ts';
import { Scene, untilPhase } from './scene.ts';
import { listKeys, openArchive } from './stored-objects.ts';

const childName = 'child';
/** Sessions in which a base backup runs. */
const sessionsOfBackup = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'walkback base backup'`;
let scene: Scene;
let child: LandingReport;
let firstChildSegment: string;

beforeAll(async () => {
  scene = await Scene.open();
});
afterAll(async () => scene[Symbol.asyncDispose]());

async function keysOf(cluster: string): Promise<ReadonlyMap<string, string | undefined>> {
  await using archive = openArchive(scene.site, cluster);
  return await listKeys(archive, '');
}

/** Writes a row into the child and closes its segment. */
async function writeIntoChild(n: number): Promise<string> {
  await using connection = await connectServer({ host: child.socketDirectory, port: child.port, user: demoAdmin, database: 'postgres' });
  await connection.query(`INSERT INTO events VALUES (${n}, 'written by the child')`);
  return (await connection.queryFirstValue('SELECT pg_walfile_name(pg_switch_wal())')) ?? '';
}

async function untilStored(cluster: string, name: string): Promise<void> {
  await waitUntil(async () => (await keysOf(cluster)).has(walKey(name, 'zst')), {
    timeoutMs: 30_000,
    description: `${name} is in the archive of ${cluster}`,
  });
}

/** As an operator does who wants the child to be backed up: it becomes a cluster of walkback.yaml. */
async function configureChild(): Promise<void> {
  const { configFile } = scene.site;
  const configuration = parse(await readFile(configFile, 'utf8')) as { clusters: Record<string, object> };
  configuration.clusters[childName] = {
    data_directory: child.dataDirectory,
    socket_directory: child.socketDirectory,
    port: child.port,
    user: demoAdmin,
  };
  await writeFile(configFile, stringify(configuration));
  for (const name of ['worker', 'agent'] as const) {
    await scene.stop(name);
    await scene.start(name);
  }
}

describe('a restored cluster', () => {
  it('A14: sends its history file and its first segment to its own prefix, and nothing to that of its parent', async () => {
    const target = await scene.noteTarget();
    const { handle } = await scene.restore({ name: childName, target: { kind: 'time', time: target.time }, protect: true });
    child = await handle.result();
    const parentKeys = await keysOf(demoCluster);
    const written: string[] = [];
    for (const n of [1001, 1002, 1003]) written.push(await writeIntoChild(n));
    for (const name of ['00000002.history', ...written]) await untilStored(childName, name);
    firstChildSegment = [...(await keysOf(childName)).keys()].find((key) => /^wal_005\/00000002[0-9A-F]{16}\./.test(key)) ?? '';
    // The first base backup was taken without anybody asking for it, and without the child being configured.
    const { protection } = child;
    expect(protection).toEqual({ backup: expect.stringMatching(/^base_00000002/) as string, failure: null });
    expect((await keysOf(childName)).has(sentinelKey(protection?.backup ?? ''))).toBe(true);
    expect(child.steps.map(({ name }) => name)).toEqual(expect.arrayContaining(['open-to-clients', 'report', 'protect']));
    expect(await scene.site.client.landingReport(childName)).toMatchObject({ protection, cluster: demoCluster });
    // No hole: the first segment of the new timeline is the one in which recovery ended.
    expect(written.map((name) => name.slice(0, 8))).toEqual(['00000002', '00000002', '00000002']);
    expect(firstChildSegment <= walKey(written[0]!, 'zst')).toBe(true);
    expect(await keysOf(demoCluster)).toEqual(parentKeys);
    expect([...parentKeys.keys()].filter((key) => key.startsWith(`${walPrefix}00000002`))).toEqual([]);
  });

  it('stays open when its first base backup fails, and the report says why', async () => {
    const name = 'unprotected';
    await withTemporal(scene.site, async (client) => {
      // A base backup of that name runs already: one that no worker takes.
      const running = await client.workflow.start('baseBackup', {
        workflowId: `backup/${name}`,
        taskQueue: 'nobody',
        args: [{ cluster: name }],
      });
      const { handle } = await scene.restore({ name, target: { kind: 'latest' }, protect: true });
      const report = await handle.result();
      expect(report.protection).toEqual({ backup: null, failure: `a base backup of ${name} is running already` });
      expect(await scene.rowsOf(report)).toBe(await scene.rowsOfSource());
      await running.terminate();
    });
  });

  it('A17: stays open and usable when the restore is cancelled during its first base backup; nothing is left running, and the report says it', async () => {
    const name = 'cancelled';
    const rows = await scene.rowsOfSource();
    const gate = scene.store.hold('PutObject', `${name}/basebackups_005/`);
    const { handle } = await scene.restore({ name, target: { kind: 'latest' }, protect: true });
    await untilPhase(handle, 'protect');
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 30_000, description: 'a part of the base backup is on its way' });
    await handle.cancel();
    const report = await handle.result();
    // Although the store holds the request yet.
    await waitUntil(async () => (await scene.valueOf(report, sessionsOfBackup)) === '0', {
      description: 'the session of the backup is gone',
    });
    gate.open();
    scene.store.end();
    expect(report.protection).toEqual({ backup: null, failure: 'it was cancelled' });
    expect(renderLandingReport(report)).toContain('NOT YET: the first base backup failed: it was cancelled');
    expect(await scene.site.client.landingReport(name)).toMatchObject({ protection: report.protection });
    await withTemporal(scene.site, async (client) => {
      expect((await client.workflow.getHandle(`backup/${name}`).describe()).status.name).toBe('CANCELLED');
    });
    // No sentinel in the archive; the cluster takes rows, and archives them.
    expect([...(await keysOf(name)).keys()].filter((key) => key.endsWith('_backup_stop_sentinel.json'))).toEqual([]);
    expect(await scene.rowsOf(report)).toBe(rows);
    await scene.valueOf(report, `INSERT INTO events VALUES (2001, 'after the cancellation')`);
    await untilStored(name, await scene.valueOf(report, 'SELECT pg_walfile_name(pg_switch_wal())'));
  });

  it('can be restored itself from that first base backup, when walkback.yaml names it', async () => {
    await configureChild();
    await writeIntoChild(1004);
    const rows = await scene.rowsOf(child);
    const { handle } = await scene.restore({ cluster: childName, name: 'grandchild', target: { kind: 'latest' } });
    const grandchild = await handle.result();
    expect(grandchild).toMatchObject({ cluster: childName, timeline: 3, endReason: 'end-of-wal', backup: child.protection?.backup });
    const { root } = await scene.site.client.lineage({ cluster: 'grandchild' });
    expect(root.children.map(({ name, children }) => [name, ...children.map((member) => member.name)])).toEqual([
      [childName, 'grandchild'],
      ['unprotected'],
      ['cancelled'],
    ]);
    expect(await scene.rowsOf(grandchild)).toBe(rows);
    await untilStored('grandchild', '00000003.history');
    expect([...(await keysOf(childName)).keys()].filter((key) => key.startsWith(`${walPrefix}00000003`))).toEqual([]);
  });
});
