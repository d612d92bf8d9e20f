/** `source: 'stop'`: the source is shut down first, and its clean end proves that nothing was committed behind the archived WAL. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { demoCluster, demoHost, type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { findPostgresInstallations } from '../../src/demo/local-services/find-tools.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { type ConnectOptions, connectServer } from '../../src/postgres/connection.ts';
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
    });
  },
);

async function restoreStopping(site: DemoSite, now: string): Promise<LandingReport> {
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
  } as const;
  return await (await site.client.startRestore(request)).result();
}

async function ask(server: ConnectOptions, sql: string): Promise<string | null> {
  await using connection = await connectServer(server);
  return await connection.queryFirstValue(sql);
}
