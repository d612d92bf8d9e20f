/** `source: 'stop'`: the source is shut down first, and its clean end proves that nothing was committed behind the archived WAL. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { demoCluster, demoHost, type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { findPostgresInstallations } from '../../src/demo/local-services/find-tools.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { type ConnectOptions, connectServer } from '../../src/postgres/connection.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { startServer } from '../../src/postgres/process-control.ts';
import { serverState } from '../../src/postgres/server-state.ts';

const installations = (await findPostgresInstallations(process.env)).toSorted((a, b) => a.major - b.major);
const oldestAndNewest = [installations.at(0)!, installations.at(-1)!];

describe.each(oldestAndNewest.map((installation) => ({ installation, major: installation.major })))(
  'PostgreSQL $major',
  ({ installation }) => {
    it('restores an instant after the last commit, and leaves the source stopped with nothing lost', async () => {
      await using site = await startDemoSite({ installation, withUi: false });
      await ask(site.source.server, 'CREATE TABLE orders AS SELECT generate_series(1, 100) AS n');
      await (await site.client.startEnable({ cluster: demoCluster, allowRestart: true })).result();
      await (await site.client.startBackup({ cluster: demoCluster })).result();
      await ask(site.source.server, 'INSERT INTO orders VALUES (101)');
      const now = await ask(site.source.server, 'SELECT clock_timestamp()::text');

      const report = await restoreStopping(site, now ?? '');

      expect(report).toMatchObject({ endReason: 'ended-early-proven-complete', sourceFlushed: true });
      expect(report.earlyEndProof).toContain('The source was stopped at');
      expect(report.steps.map((step) => step.name)).toContain('stop-source');
      expect(await ask({ ...site.source.server, host: report.socketDirectory, port: report.port }, 'SELECT max(n) FROM orders')).toBe(
        '101',
      );
      expect((await serverState(site.source.dataDirectory)).running).toBe(false);

      // Retired: nobody starts it by accident, or restores from it as if it ran.
      expect(report.retired).toMatchObject({ cluster: demoCluster, host: demoHost, dataDirectory: site.source.dataDirectory });
      const start = {
        ...installation,
        dataDirectory: site.source.dataDirectory,
        logFile: join(site.directory, 'by-hand.log'),
        timeoutMs: 20_000,
      };
      await expect(startServer(start)).rejects.toMatchObject({ code: 'CLUSTER_RETIRED' });
      await expect((await site.client.startBackup({ cluster: demoCluster })).result()).rejects.toMatchObject({
        code: 'POSTGRES_UNREACHABLE',
      });

      await ask({ ...site.source.server, host: report.socketDirectory, port: report.port }, 'INSERT INTO orders VALUES (102) RETURNING n');
      // Something else has taken the source's port meanwhile: then nothing is touched.
      const intruder = createServer();
      intruder.listen(site.source.server.port, '127.0.0.1');
      await once(intruder, 'listening');
      await expect((await site.client.startUndo({ restoreId: report.restoreId })).result()).rejects.toMatchObject({ code: 'PORT_IN_USE' });
      expect((await serverState(report.dataDirectory)).running).toBe(true);
      intruder.close();
      const undone = await (await site.client.startUndo({ restoreId: report.restoreId })).result();
      expect(undone.steps.map(({ name }) => name)).toEqual(['plan', 'check-source', 'stop-child', 'bring-back']);
      expect(undone).toMatchObject({ cluster: demoCluster, host: demoHost, child: { name: 'moved', isStopped: true } });
      expect((await serverState(report.dataDirectory)).running).toBe(false);
      expect(await ask(site.source.server, 'SELECT max(n) FROM orders')).toBe('101');
      // It archives again, and what was committed in the restored cluster is in its own archive.
      await (await site.client.startBackup({ cluster: demoCluster })).result();
      const lineage = await site.client.lineage({ cluster: 'moved' });
      expect(lineage.root.children.map(({ name }) => name)).toEqual(['moved']);
    });

    it.runIf(installation === oldestAndNewest[1])(
      'lifts the fence when the restore comes to no good end, and has nothing to undo where no source was retired',
      async () => {
        await using site = await startDemoSite({ installation, withUi: false });
        await (await site.client.startEnable({ cluster: demoCluster, allowRestart: true })).result();
        await (await site.client.startBackup({ cluster: demoCluster })).result();
        const now = await ask(site.source.server, 'SELECT clock_timestamp()::text');
        const failed = restoreStopping(site, now ?? '', { checks: [{ sql: 'SELECT 1', expected: '2' }] });
        await expect(failed).rejects.toMatchObject({
          code: 'CHECK_FAILED',
          message: expect.stringContaining('can be started again') as string,
        });
        await startServer({
          ...installation,
          dataDirectory: site.source.dataDirectory,
          logFile: join(site.directory, 'again.log'),
          timeoutMs: 20_000,
        });
        const id = `restore/${demoHost}${join(site.directory, 'moved')}`;
        await expect((await site.client.startUndo({ restoreId: id })).result()).rejects.toMatchObject({ code: 'NOT_FOUND' });
      },
    );
  },
);

async function restoreStopping(site: DemoSite, now: string, more: Partial<RestoreRequest> = {}): Promise<LandingReport> {
  const dataDirectory = join(site.directory, 'moved');
  site.restored.push(dataDirectory);
  const target = { kind: 'time', time: parseInstant(now) } as const;
  const request = {
    cluster: demoCluster,
    name: 'moved',
    host: demoHost,
    target,
    dataDirectory,
    port: await freePort(),
    source: 'stop',
    retireHours: 24,
    ...more,
  } as const;
  return await (await site.client.startRestore(request)).result();
}

async function ask(server: ConnectOptions, sql: string): Promise<string | null> {
  await using connection = await connectServer(server);
  return await connection.queryFirstValue(sql);
}
