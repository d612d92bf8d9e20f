/**
 * A source whose configuration lies outside of its data directory, as Debian's pg_createcluster makes it: postgresql.conf, pg_hba.conf, pg_ident.conf,
 * conf.d and TLS files in /etc, and a server that is told so by an option. It is archived, restored, retired and brought back.
 */
import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoAdmin, demoCluster, demoHost, type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { startLocalS3 } from '../../src/demo/local-services/local-s3.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { stopServer } from '../../src/postgres/process-control.ts';

const boundMs = 60_000;
let site: DemoSite;
/** As /etc/postgresql/15/main. */
let etc: string;
let tls: 'on' | 'off';

beforeAll(async () => {
  site = await startDemoSite({ withUi: false, startS3: () => startLocalS3({}) });
  etc = join(site.directory, 'etc', 'postgresql', 'main');
  await moveConfiguration();
  await (await site.client.startEnable({ cluster: demoCluster, allowRestart: true })).result();
  await onSource(`CREATE TABLE events AS SELECT n FROM generate_series(1, 100) AS n`);
  await (await site.client.startBackup({ cluster: demoCluster })).result();
  await onSource(`INSERT INTO events VALUES (101)`);
});
afterAll(async () => site?.[Symbol.asyncDispose]());

/** What stands in /etc on Debian, with the header that pg_createcluster writes; the data directory keeps postgresql.auto.conf alone. */
async function moveConfiguration(): Promise<void> {
  const { dataDirectory } = site.source;
  const { binDirectory } = site.installation;
  await stopServer({ dataDirectory, mode: 'fast', timeoutMs: boundMs });
  await mkdir(join(etc, 'conf.d'), { recursive: true });
  for (const name of ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf']) await rename(join(dataDirectory, name), join(etc, name));
  const [certificate, key] = [join(etc, 'server.crt'), join(etc, 'server.key')];
  tls = (await makeCertificate(certificate, key)) ? 'on' : 'off';
  const elsewhere = {
    data_directory: dataDirectory,
    hba_file: join(etc, 'pg_hba.conf'),
    ident_file: join(etc, 'pg_ident.conf'),
    ssl: tls,
    ssl_cert_file: certificate,
    ssl_key_file: key,
  };
  const lines = Object.entries(elsewhere).map(([name, value]) => `${name} = '${value}'\n`);
  const text = await readFile(join(etc, 'postgresql.conf'), 'utf8');
  await writeFile(join(etc, 'postgresql.conf'), `${text}${lines.join('')}include_dir = 'conf.d'\n`);
  await writeFile(join(etc, 'conf.d', 'local.conf'), `work_mem = '7MB'\n`);
  // As pg_ctlcluster does.
  const option = `-c config_file="${join(etc, 'postgresql.conf')}"`;
  await execa(join(binDirectory, 'pg_ctl'), ['start', '-w', '-D', dataDirectory, '-l', join(site.directory, 'debian.log'), '-o', option], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
    extendEnv: false,
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' },
  });
}

/** @returns false without openssl: then the paths stand there all the same, and nobody reads them */
async function makeCertificate(certificate: string, key: string): Promise<boolean> {
  const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=shop', '-out', certificate, '-keyout', key];
  try {
    await promisify(execFile)('openssl', request);
    await chmod(key, 0o600);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

async function onSource(sql: string): Promise<string | undefined> {
  await using connection = await connectServer(site.source.server);
  return (await connection.queryFirstValue(sql)) ?? undefined;
}

async function on({ socketDirectory, port }: Pick<LandingReport, 'socketDirectory' | 'port'>, sql: string): Promise<string | undefined> {
  await using connection = await connectServer({ host: socketDirectory, port, user: demoAdmin, database: 'postgres' });
  return (await connection.queryFirstValue(sql)) ?? undefined;
}

async function restore(name: string, more: Partial<RestoreRequest> = {}): Promise<LandingReport> {
  const dataDirectory = join(site.directory, name);
  site.restored.push(dataDirectory);
  const place = { cluster: demoCluster, name, host: demoHost, dataDirectory, port: await freePort() };
  return await (await site.client.startRestore({ ...place, target: { kind: 'latest' }, ...more })).result();
}

async function expectSourceAsBefore(): Promise<void> {
  expect(await onSource('SHOW config_file')).toBe(join(etc, 'postgresql.conf'));
  expect(await onSource('SHOW work_mem')).toBe('7MB');
  expect(await onSource('SHOW ssl')).toBe(tls);
}

describe('a source with its configuration in /etc', () => {
  it('is restarted with it when archiving is switched on', async () => {
    await expectSourceAsBefore();
    expect(await onSource('SHOW archive_mode')).toBe('on');
  });

  it('is restored with a configuration of its own; what it left behind is kept as evidence, and the report says what is not known', async () => {
    const report = await restore('from-debian');
    expect(await on(report, 'SELECT count(*) FROM events')).toBe('101');
    const inside = (name: string) => join(report.dataDirectory, name);
    expect(await on(report, 'SHOW config_file')).toBe(inside('postgresql.conf'));
    expect(await on(report, 'SHOW hba_file')).toBe(inside('pg_hba.conf'));
    expect(await on(report, 'SHOW ssl')).toBe('off');
    // Only what lay in the data directory came along; nothing in /etc was asked, which on this host may be another cluster's.
    expect(await readdir(inside('walkback_restore/source-configuration'))).toEqual(['postgresql.auto.conf']);
    expect(await on(report, 'SHOW work_mem')).toBe('4MB');
    expect(report.findings).toContainEqual({
      kind: 'configuration',
      database: null,
      text: expect.stringContaining('Debian keeps it in /etc/postgresql') as string,
    });
    await expectSourceAsBefore();
  });

  it('is retired, and comes back by an undo with the configuration that it had', async () => {
    const { restoreId } = await restore('takes-over', { source: 'stop', retireHours: 1 });
    await (await site.client.startUndo({ restoreId })).result();
    await expectSourceAsBefore();
    expect(await onSource('SELECT count(*) FROM events')).toBe('101');
  });
});
