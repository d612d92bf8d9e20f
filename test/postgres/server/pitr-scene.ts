/** A source with an archive made by `cp`, a base backup of it, and restored copies: recovery as it really goes, without storage of ours. */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type RecoverySummary, summarizeRecovery } from '../../../src/domain/recovery-events.ts';
import { startBackupSession } from '../../../src/postgres/backup-session.ts';
import { connectServer, type ConnectOptions } from '../../../src/postgres/connection.ts';
import type { PostgresInstallation } from '../../../src/postgres/installations.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { configureRecovery, launchLogFile, recoveryLogFile, type RecoverySettings } from '../../../src/postgres/recovery-settings.ts';
import { readLogRecords } from '../../../src/postgres/server-log.ts';
import { serverState } from '../../../src/postgres/server-state.ts';
import { switchWal } from '../../../src/postgres/wal-switch.ts';
import { createTestCluster, freePort, type TestCluster } from '../../harness/postgres.ts';

export interface PitrScene extends AsyncDisposable {
  readonly source: TestCluster;
  readonly archive: string;
  /** A fresh copy of the base backup. */
  restore(): Promise<RestoredCopy>;
  /** Closes the segment and waits until it is in the archive. */
  flush(): Promise<void>;
  now(): Promise<string>;
}

export interface RestoredCopy extends AsyncDisposable {
  readonly dataDirectory: string;
  readonly connectOptions: ConnectOptions;
  configure(settings: Partial<RecoverySettings>): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Waits until recovery has ended, one way or the other, or has paused. */
  outcome(): Promise<RecoverySummary>;
  rows(): Promise<string[]>;
}

const boundMs = 20_000;

export async function createPitrScene(
  installation: PostgresInstallation,
  settings: Readonly<Record<string, string>> = {},
): Promise<PitrScene> {
  const directory = await mkdtemp(join(tmpdir(), 'wb-pitr-'));
  const archive = join(directory, 'archive');
  mkdirSync(archive);
  const source = await createTestCluster({
    installation,
    name: 'pitr',
    settings: { archive_mode: 'on', archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`, max_connections: 33, ...settings },
  });
  await source.query(`CREATE TABLE t (name text)`);
  await source.query(`INSERT INTO t VALUES ('before backup')`);
  await source.query(`ALTER SYSTEM SET work_mem = '7MB'`);
  await source.query(`ALTER SYSTEM SET primary_conninfo = 'password=hidden'`);
  const backup = join(directory, 'backup');
  await takeBackup(source, backup);
  let count = 0;
  const flush = async () => {
    await using connection = await connectServer(source.connectOptions);
    const { segment } = await switchWal(connection);
    await until(
      async () =>
        (await source.query<{ ok: boolean }>(`SELECT last_archived_wal >= $1 AS ok FROM pg_stat_archiver`, [segment]))[0]?.ok === true,
    );
  };
  return {
    source,
    archive,
    flush,
    restore: async () => await restoredCopy({ installation, backup, directory: join(directory, `copy-${(count += 1)}`), archive }),
    now: async () => {
      const [row] = await source.query<{ now: string }>(
        `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
      );
      return row!.now;
    },
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + boundMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${boundMs} ms`);
    await delay(20);
  }
}

async function takeBackup(source: TestCluster, backup: string): Promise<void> {
  await using session = await startBackupSession(source.connectOptions, { label: 'test', fast: true });
  cpSync(source.dataDirectory, backup, { recursive: true });
  const stopped = await session.stop();
  rmSync(join(backup, 'postmaster.pid'));
  rmSync(join(backup, 'pg_wal'), { recursive: true });
  mkdirSync(join(backup, 'pg_wal'));
  await writeFile(join(backup, 'backup_label'), stopped.labelFile);
}

interface CopyPlace {
  readonly installation: PostgresInstallation;
  readonly backup: string;
  readonly directory: string;
  readonly archive: string;
}

async function restoredCopy({ installation, backup, directory, archive }: CopyPlace): Promise<RestoredCopy> {
  const dataDirectory = join(directory, 'data');
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  cpSync(backup, dataDirectory, { recursive: true });
  const { binDirectory, major } = installation;
  const port = await freePort();
  const connectOptions = { host: join(directory, 's'), port, user: 'admin', database: 'postgres' };
  const base: RecoverySettings = {
    major,
    port,
    socketDirectory: join(directory, 's'),
    clusterName: 'copy',
    restoreCommand: `cp "${archive}/%f" "%p"`,
    target: { kind: 'latest' },
    timeline: 'latest',
    atTarget: 'promote',
    adminRole: 'admin',
    temporaryRole: 'walkback_tmp_1',
    startNumber: 1,
  };
  let settings = base;
  const summary = async () => {
    const { records } = await readLogRecords(recoveryLogFile(dataDirectory, settings));
    return summarizeRecovery(records);
  };
  const stop = async () => {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: boundMs });
  };
  return {
    dataDirectory,
    connectOptions,
    configure: async (more) => {
      settings = { ...base, ...more };
      await configureRecovery({ dataDirectory, settings });
    },
    start: async () => {
      await startServer({ binDirectory, dataDirectory, logFile: launchLogFile(dataDirectory, settings.startNumber), timeoutMs: boundMs });
    },
    stop,
    outcome: async () => {
      await until(async () => {
        const { complete, ready, paused } = await summary();
        return paused || (complete && ready) || !(await serverState(dataDirectory)).running;
      });
      return await summary();
    },
    rows: async () => {
      await using connection = await connectServer(connectOptions);
      return (await connection.query<{ name: string }>('SELECT name FROM t ORDER BY name')).map((row) => row.name);
    },
    [Symbol.asyncDispose]: stop,
  };
}
