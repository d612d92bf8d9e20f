import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { userInfo } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseInstant } from '../../../src/domain/instant.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { openConfiguration } from '../../../src/postgres/open-configuration.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { probeWrite, readLandingFacts, readRecoveryProgress, resumeReplay } from '../../../src/postgres/recovery-progress.ts';
import { launchLogFile } from '../../../src/postgres/recovery-settings.ts';
import { availableInstallations, freePort } from '../../harness/postgres.ts';
import { createPitrScene, type PitrScene, until } from './pitr-scene.ts';

const installations = await availableInstallations();

describe.each(installations)('recovery on PostgreSQL $version', (installation) => {
  let scene: PitrScene;
  let betweenRows: string;
  let afterAllCommits: string;

  beforeAll(async () => {
    scene = await createPitrScene(installation);
    await scene.source.query(`INSERT INTO t VALUES ('kept')`);
    await scene.flush();
    betweenRows = await scene.now();
    await scene.source.query(`INSERT INTO t VALUES ('left out')`);
    await scene.flush();
    afterAllCommits = await scene.now();
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });

  it('summarizeRecovery tells both sides of the landing when the target is reached (M2)', async () => {
    await using copy = await scene.restore();
    await copy.configure({ target: { kind: 'time', time: parseInstant(betweenRows) } });
    await copy.start();
    const summary = await copy.outcome();
    expect(summary).toMatchObject({
      complete: true,
      ready: true,
      fatal: undefined,
      newTimeline: 2,
      stop: { kind: 'before', record: 'commit' },
    });
    expect(summary.lastCompletedTransactionTime! < betweenRows).toBe(true);
    expect(summary.segmentsRestored).toBeGreaterThanOrEqual(2);
    expect(await copy.rows()).toEqual(['before backup', 'kept']);
    await using connection = await connectServer(copy.connectOptions);
    expect(await readRecoveryProgress(connection)).toMatchObject({ inRecovery: false, paused: false });
    expect(await readLandingFacts(connection)).toMatchObject({ timeline: 2 });
    await probeWrite(connection);
  });

  it('configureRecovery lands on the same directory when the early end was met and the target is dropped (M1, M3)', async () => {
    await using copy = await scene.restore();
    await copy.configure({ target: { kind: 'time', time: parseInstant(afterAllCommits) } });
    await copy.start();
    const early = await copy.outcome();
    expect(early).toMatchObject({ endedBeforeTarget: true, complete: false, fatal: { code: 'ended-before-target' } });
    expect(early.lastCompletedTransactionTime! < afterAllCommits).toBe(true);
    await copy.configure({ target: { kind: 'latest' }, startNumber: 2 });
    await copy.start();
    expect(await copy.outcome()).toMatchObject({ complete: true, ready: true, endedBeforeTarget: false, newTimeline: 2 });
    expect(await copy.rows()).toEqual(['before backup', 'kept', 'left out']);
  });

  it.each([126, 130])(
    'summarizeRecovery says restore-command-failed and nothing is promoted when restore_command exits %i (M9, M20)',
    async (exitCode) => {
      await using copy = await scene.restore();
      const last = readdirSync(scene.archive)
        .filter((name) => name.length === 24)
        .sort()
        .at(-1);
      await copy.configure({ restoreCommand: `test "%f" != ${last} || exit ${exitCode}; cp "${scene.archive}/%f" "%p"` });
      await copy.start();
      expect(await copy.outcome()).toMatchObject({ complete: false, fatal: { code: 'restore-command-failed' } });
      await copy.configure({ startNumber: 2 });
      await copy.start();
      await copy.outcome();
      expect(await copy.rows()).toEqual(['before backup', 'kept', 'left out']);
    },
  );

  it('resumeReplay promotes when replay has paused at the target (M7)', async () => {
    await using copy = await scene.restore();
    await copy.configure({ target: { kind: 'time', time: parseInstant(betweenRows) }, atTarget: 'pause' });
    await copy.start();
    expect(await copy.outcome()).toMatchObject({ paused: true, complete: false, fatal: undefined });
    expect(await copy.rows()).toEqual(['before backup', 'kept']);
    await using connection = await connectServer(copy.connectOptions);
    expect(await readRecoveryProgress(connection)).toMatchObject({ inRecovery: true, paused: true });
    await resumeReplay(connection);
    await until(async () => !(await readRecoveryProgress(connection)).inRecovery);
  });

  it('configureRecovery keeps the first segment and the history file when nothing may be archived (M22)', async () => {
    await using copy = await scene.restore();
    const before = readdirSync(scene.archive);
    await copy.configure({});
    await copy.start();
    await copy.outcome();
    const status = readdirSync(join(copy.dataDirectory, 'pg_wal', 'archive_status'));
    expect(status).toContain('00000002.history.ready');
    expect(readdirSync(scene.archive)).toEqual(before);
  });

  it('configureRecovery isolates the copy when the source had other settings (M23)', async () => {
    await using copy = await scene.restore();
    await copy.configure({ clusterName: "it's a \\ copy", minimums: { max_connections: 44 } });
    await copy.start();
    await copy.outcome();
    await using connection = await connectServer(copy.connectOptions);
    const rows = await connection.query<{ name: string; setting: string }>(
      `SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses', 'archive_command', 'work_mem', 'max_connections', 'cluster_name', 'primary_conninfo')`,
    );
    expect(Object.fromEntries(rows.map((row) => [row.name, row.setting]))).toEqual({
      listen_addresses: '',
      archive_command: '',
      work_mem: '4096',
      max_connections: '44',
      cluster_name: "it's a \\ copy",
      primary_conninfo: '',
    });
    expect(readFileSync(join(copy.dataDirectory, 'walkback_restore/source-configuration/postgresql.auto.conf'), 'utf8')).toContain(
      'work_mem',
    );
  });

  it('openConfiguration carries over what is harmless when the copy opens', async () => {
    await using copy = await scene.restore();
    await copy.configure({});
    await copy.start();
    await copy.outcome();
    const { dataDirectory, connectOptions } = copy;
    const { binDirectory } = installation;
    const port = await freePort();
    const settings = {
      clusterName: 'copy',
      port,
      listenAddresses: '127.0.0.1',
      socketDirectory: connectOptions.host,
      adminRole: 'admin',
      operatingSystemUser: userInfo().username,
      archiveCommand: 'exit 2',
    };
    const opened = await openConfiguration({ dataDirectory, binDirectory, settings });
    expect(opened.carriedOver).toEqual(expect.arrayContaining(['work_mem', 'max_connections']));
    expect(opened.notCarriedOver).toEqual(expect.arrayContaining(['primary_conninfo', 'fsync']));
    expect(JSON.stringify(opened)).not.toContain('hidden');
    await stopServer({ dataDirectory, mode: 'fast', timeoutMs: 20_000 });
    await startServer({ binDirectory, dataDirectory, logFile: launchLogFile(dataDirectory, 9), timeoutMs: 20_000, until: 'accepting' });
    await using connection = await connectServer({ ...connectOptions, port });
    const [row] = await connection.query(
      `SELECT current_setting('work_mem') AS work_mem, current_setting('archive_command') AS archive, current_setting('max_connections') AS connections`,
    );
    expect(row).toEqual({ work_mem: '7MB', archive: 'exit 2', connections: '33' });
    await expect(connectServer({ ...connectOptions, port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'POSTGRES_ACCESS_DENIED' });
    expect(existsSync(join(dataDirectory, 'recovery.signal'))).toBe(false);
  });
});
