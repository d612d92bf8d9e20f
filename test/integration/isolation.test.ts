/**
 * Until it is open, a restored cluster is closed: nobody gets in over the network, nothing is archived, nothing of the source's works in it. What came
 * along is told in the report, and the data is examined before clients come.
 */
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RestoreHandle } from '../../src/client/handles.ts';
import { demoAdmin, demoCluster } from '../../src/demo/demo-site.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { FindingKind } from '../../src/domain/restored-findings.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { Scene, untilPhase } from './faults/scene.ts';
import { listKeys, openArchive } from './faults/stored-objects.ts';

const childName = 'closed';
const ownWorkers = ['background writer', 'checkpointer', 'client backend', 'startup', 'walwriter', 'archiver', 'io worker'];
let scene: Scene;
let publisher: Server;
let publisherVisits = 0;
let visitsOfSource = 0;
let handle: RestoreHandle;
let port = 0;

beforeAll(async () => {
  publisher = createServer((socket) => {
    publisherVisits += 1;
    socket.destroy();
  });
  publisher.listen(0, '127.0.0.1');
  await once(publisher, 'listening');
  const { port: publisherPort } = publisher.address() as AddressInfo;
  scene = await Scene.open({
    pageChecksums: true,
    settings: { shared_preload_libraries: 'pg_prewarm', include_if_exists: 'extra.conf' },
    fill: [
      `CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=${publisherPort} dbname=postgres' PUBLICATION p WITH (connect = false)`,
      'ALTER SUBSCRIPTION feed ENABLE',
      'CREATE UNLOGGED TABLE scratch (a int)',
      "CREATE ROLE clerk LOGIN PASSWORD 'clerk-secret'",
    ],
  });
  await writeFile(join(scene.site.source.dataDirectory, 'extra.conf'), "work_mem = '5MB'\n");
  await (await scene.site.client.startBackup({ cluster: demoCluster })).result();
  await scene.site.client.recordBaseline({ cluster: demoCluster });
  const target = await scene.noteTarget();
  // From now on nobody but the copy, in which it is enabled, would visit the publisher.
  await scene.source('ALTER SUBSCRIPTION feed DISABLE');
  visitsOfSource = publisherVisits;
  const started = await scene.restore({
    name: childName,
    target: { kind: 'time', time: target.time },
    atTarget: 'pause',
    baseline: { tolerancePercent: 0 },
    amcheck: true,
    verifyPages: true,
    // Asked after the promotion, before clients come.
    checks: [
      {
        sql: `SELECT current_setting('listen_addresses') || current_setting('archive_command') || current_setting('shared_preload_libraries')`,
        expected: '',
      },
      { sql: `SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'logical|prewarm'`, expected: '0' },
      { sql: `SELECT current_setting('max_logical_replication_workers')`, expected: '0' },
    ],
  });
  handle = started.handle;
  port = started.request.port;
  await untilPhase(handle, 'paused-at-target');
});
afterAll(async () => {
  await scene?.[Symbol.asyncDispose]();
  publisher?.close();
});

/** Does anything listen there? */
async function isOpen(host: string): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function keysOf(cluster: string): Promise<string[]> {
  await using archive = openArchive(scene.site, cluster);
  return [...(await listKeys(archive, '')).keys()];
}

/** Where the paused server answers, by its own lock file. */
async function privateServer() {
  const { readFile } = await import('node:fs/promises');
  const lines = (await readFile(join(scene.site.directory, childName, 'postmaster.pid'), 'utf8')).split('\n');
  return { host: lines[4] ?? '', port, user: demoAdmin, database: 'postgres' };
}

describe('a cluster that is being restored', () => {
  it('lets nobody in over the network, and over its private socket only who owns it', async () => {
    expect([await isOpen('127.0.0.1'), await isOpen('::1')]).toEqual([false, false]);
    const server = await privateServer();
    const { mode } = await stat(server.host);
    expect(mode & 0o777).toBe(0o700);
    await expect(connectServer({ ...server, user: 'clerk' })).rejects.toMatchObject({ code: 'POSTGRES_ACCESS_DENIED' });
  });

  it('runs no logical worker and no library of the source', async () => {
    await using connection = await connectServer(await privateServer());
    const rows = await connection.query<{ type: string }>('SELECT DISTINCT backend_type AS type FROM pg_stat_activity');
    expect(rows.map(({ type }) => type).filter((type) => !ownWorkers.includes(type))).toEqual([]);
    expect(await connection.queryFirstValue('SELECT subenabled FROM pg_subscription')).toBe('t');
  });

  it('archives nothing, neither to its own prefix nor to its parent’s', async () => {
    expect(await keysOf(childName)).toEqual([]);
    expect((await keysOf(demoCluster)).filter((key) => key.startsWith('wal_005/00000002'))).toEqual([]);
  });

  it('is examined before the first client can come, keeps its settings over included files, and never visits the publisher', async () => {
    const phaseAtFirstVisit = untilOpen();
    await handle.promote();
    const report = await handle.result();
    expect(['open-to-clients', 'report', 'done']).toContain(await phaseAtFirstVisit);
    expect(report.checks.map(({ sql, ok }) => [sql.split(' ')[0], ok])).toEqual(
      ['SELECT', 'SELECT', 'SELECT', 'row', 'amcheck', 'amcheck', 'checksums'].map((word) => [word, true]),
    );
    expect(textsOf(report, 'subscription')).toEqual([expect.stringContaining('feed is switched off')]);
    expect(textsOf(report, 'unlogged-table')).toEqual([expect.stringContaining('scratch')]);
    expect(textsOf(report, 'not-inspected')).toEqual([]);
    expect(await scene.valueOf(report, 'SHOW work_mem')).toBe('5MB');
    expect(await scene.valueOf(report, 'SELECT subenabled FROM pg_subscription')).toBe('f');
    expect(publisherVisits).toBe(visitsOfSource);
    expect(visitsOfSource).toBeGreaterThan(0);
  });
});

function textsOf(report: LandingReport, kind: FindingKind): string[] {
  return report.findings.filter((finding) => finding.kind === kind).map(({ text }) => text);
}

/** @returns the phase of the restore when its port answers for the first time */
async function untilOpen(): Promise<string> {
  while (!(await isOpen('127.0.0.1'))) await delay(20);
  return (await handle.progress()).phase;
}
