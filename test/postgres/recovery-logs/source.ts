/**
 * A source and copies of it, made so that recovery can be spoiled in many ways: segments of 1 MiB, full_page_writes off, and a base backup whose
 * redo position, checkpoint and end lie in three segments. Free of vitest, for the recorder.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { freePort } from '../../../src/demo/local-services/free-port.ts';
import { parseLsn } from '../../../src/domain/lsn.ts';
import { segmentNumberAt, walSegmentName } from '../../../src/domain/wal-segment.ts';
import { startBackupSession } from '../../../src/postgres/backup-session.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import type { PostgresInstallation } from '../../../src/postgres/installations.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { configureRecovery, launchLogFile, recoveryLogFile, type RecoverySettings } from '../../../src/postgres/recovery-settings.ts';

const boundMs = 30_000;
const segmentBytes = 1024 * 1024;
const adminRole = 'admin';

/** A copy of the base backup, configured to recover. */
export interface SpoilableCopy {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly port: number;
  /** Replaces the settings of the recovery. */
  configure(settings: Partial<RecoverySettings>): Promise<void>;
  /** Lines behind all others of postgresql.conf. */
  append(lines: string): Promise<void>;
}

/** What a scenario may know of the source. */
export interface SpoilingFacts {
  readonly archive: string;
  /** restore_command that brings what is archived. */
  readonly bring: string;
  /** Where replay begins, and its segment. */
  readonly redoLsn: string;
  readonly redoSegment: string;
  readonly checkpointSegment: string;
  /** Relative to the data directory: a table whose pages the WAL never holds whole, changed behind the backup, and one that is made behind it. */
  readonly oldTable: string;
  readonly newTable: string;
  /** A later major, or an earlier one where there is none. */
  readonly otherInstallation: PostgresInstallation;
}

export class RecordingSource implements AsyncDisposable {
  readonly installation: PostgresInstallation;
  readonly directory: string;
  #facts: SpoilingFacts | undefined;
  #copies = 0;

  private constructor(installation: PostgresInstallation, directory: string) {
    this.installation = installation;
    this.directory = directory;
  }

  static async open(installation: PostgresInstallation, otherInstallation: PostgresInstallation): Promise<RecordingSource> {
    const source = new RecordingSource(installation, await mkdtemp(join(tmpdir(), 'wb-spoil-')));
    await source.#prepare(otherInstallation);
    return source;
  }

  get facts(): SpoilingFacts {
    if (this.#facts === undefined) throw new Error('the source is not prepared');
    return this.#facts;
  }

  get #dataDirectory(): string {
    return join(this.directory, 'source');
  }

  async query<Row extends object>(sql: string): Promise<Row[]> {
    await using connection = await connectServer(this.#server);
    return await connection.query<Row>(sql);
  }

  /** Closes the segment and waits until it is archived. */
  async flush(): Promise<void> {
    const [row] = await this.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
    await until(async () => (await readdir(this.facts.archive)).some((name) => name === row?.name));
  }

  /** Writes WAL under wal_level=minimal into the archive: PostgreSQL itself archives none then. */
  async writeMinimalWal(): Promise<void> {
    await stopServer({ dataDirectory: this.#dataDirectory, mode: 'fast', timeoutMs: boundMs });
    await appendFile(join(this.#dataDirectory, 'postgresql.conf'), `wal_level = minimal\narchive_mode = off\nmax_wal_senders = 0\n`);
    await this.#start();
    await this.query(`INSERT INTO old_table VALUES ('minimal')`);
    await this.query('SELECT pg_switch_wal()');
    await stopServer({ dataDirectory: this.#dataDirectory, mode: 'fast', timeoutMs: boundMs });
    const archived = await readdir(this.facts.archive);
    const wal = join(this.#dataDirectory, 'pg_wal');
    for (const name of await readdir(wal))
      if (/^[0-9A-F]{24}$/.test(name) && !archived.includes(name)) await copyFile(join(wal, name), join(this.facts.archive, name));
  }

  /** Writes WAL of an extension (custom-wal.c), compiled with the headers that PG_SERVER_HEADERS names, or the usual ones. */
  async writeCustomWal(): Promise<void> {
    const headers = process.env['PG_SERVER_HEADERS'] ?? `/usr/include/postgresql/${this.installation.major}/server`;
    const library = join(this.directory, 'custom-wal.so');
    const code = fileURLToPath(new URL('custom-wal.c', import.meta.url));
    await execa('cc', ['-shared', '-fPIC', '-O1', '-I', headers, '-o', library, code]);
    await stopServer({ dataDirectory: this.#dataDirectory, mode: 'fast', timeoutMs: boundMs });
    await appendFile(join(this.#dataDirectory, 'postgresql.conf'), `shared_preload_libraries = '${library}'\n`);
    await this.#start();
    await this.query(`CREATE FUNCTION write_custom_wal() RETURNS void LANGUAGE c AS '${library}', 'write_custom_wal'`);
    await this.query('SELECT write_custom_wal()');
    await this.flush();
  }

  /** Makes a copy, lets it be spoiled, starts PostgreSQL on it and gives the text of its logs once it is gone. */
  async recordFailure(
    spoil: (copy: SpoilableCopy, facts: SpoilingFacts) => Promise<void>,
    run: {
      readonly meanwhile?: ((copy: SpoilableCopy, postmaster: number) => Promise<void>) | undefined;
      readonly binDirectory?: string | undefined;
    } = {},
  ): Promise<{ readonly launch: string; readonly log: string }> {
    const { installation, facts } = this;
    this.#copies += 1;
    const directory = join(this.directory, `copy-${this.#copies}`);
    const dataDirectory = join(directory, 'data');
    await mkdir(directory, { mode: 0o700 });
    await execa('cp', ['-a', join(this.directory, 'backup'), dataDirectory]);
    const port = await freePort();
    const base: RecoverySettings = {
      major: installation.major,
      port,
      socketDirectory: join(directory, 's'),
      clusterName: 'restored',
      restoreCommand: facts.bring,
      target: { kind: 'latest' },
      timeline: 'latest',
      atTarget: 'promote',
      adminRole,
      temporaryRole: 'walkback_tmp_1',
      startNumber: 1,
    };
    const copy: SpoilableCopy = {
      directory,
      dataDirectory,
      port,
      configure: (settings) => configureRecovery({ dataDirectory, settings: { ...base, ...settings } }),
      append: (lines) => appendFile(join(dataDirectory, 'postgresql.conf'), `${lines}\n`),
    };
    await copy.configure({});
    await spoil(copy, facts);
    const launchFile = launchLogFile(dataDirectory, 1);
    const launch = await open(launchFile, 'a');
    const child = spawn(join(run.binDirectory ?? installation.binDirectory, 'postgres'), ['-D', dataDirectory], {
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', launch.fd, launch.fd],
    });
    const ended = once(child, 'exit');
    if (run.meanwhile !== undefined && child.pid !== undefined) await run.meanwhile(copy, child.pid);
    const timer = setTimeout(() => child.kill('SIGQUIT'), boundMs);
    await ended;
    clearTimeout(timer);
    await launch.close();
    const [launchText, logText] = await Promise.all([launchFile, recoveryLogFile(dataDirectory, base)].map(textOrEmpty));
    const clean = (text: string) =>
      text
        .replaceAll(directory, '/srv/restored')
        .replaceAll(this.directory, '/srv/source')
        .replaceAll(/\/\S+\/native\//g, `/usr/lib/postgresql/${installation.major}/`);
    await chmod(dataDirectory, 0o700);
    await rm(directory, { recursive: true, force: true });
    return { launch: clean(launchText ?? ''), log: clean(logText ?? '') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopServer({ dataDirectory: this.#dataDirectory, mode: 'immediate', timeoutMs: boundMs });
    await rm(this.directory, { recursive: true, force: true });
  }

  get #server() {
    return { host: this.directory, port: 5432, user: adminRole, database: 'postgres' };
  }

  async #start(): Promise<void> {
    const { binDirectory } = this.installation;
    const logFile = join(this.directory, 'source.log');
    await startServer({ binDirectory, dataDirectory: this.#dataDirectory, logFile, timeoutMs: boundMs, until: 'accepting' });
  }

  async #prepare(otherInstallation: PostgresInstallation): Promise<void> {
    const archive = join(this.directory, 'archive');
    await mkdir(archive);
    const { binDirectory, major } = this.installation;
    const plain = ['-U', adminRole, '-N', '--locale=C', '-E', 'UTF8', '--wal-segsize=1', '--auth=trust'];
    const checksums = major >= 18 ? ['--no-data-checksums'] : [];
    const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' };
    await execa(join(binDirectory, 'initdb'), ['-D', this.#dataDirectory, ...plain, ...checksums], { extendEnv: false, env });
    const settings = {
      listen_addresses: '',
      unix_socket_directories: this.directory,
      shared_buffers: '16MB',
      fsync: 'off',
      full_page_writes: 'off',
      autovacuum: 'off',
      max_connections: '33',
      archive_mode: 'on',
      archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
      wal_keep_size: '64MB',
      checkpoint_timeout: '30s',
      checkpoint_completion_target: '0.1',
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
    await appendFile(join(this.#dataDirectory, 'postgresql.conf'), lines.join(''));
    await this.#start();
    await this.query(`CREATE TABLE old_table (name text); INSERT INTO old_table VALUES ('before the backup')`);
    await this.query(`CREATE TABLE busy_table (name text)`);
    await this.query(`CREATE TABLE filler AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) n`);
    const label = await this.#takeBackup();
    await this.query(`INSERT INTO old_table VALUES ('after the backup'); CREATE TABLE new_table (name text)`);
    await this.query(`INSERT INTO new_table VALUES ('after the backup')`);
    const redoLsn = /START WAL LOCATION: (\S+)/.exec(label)?.[1] ?? '';
    const checkpointLsn = /CHECKPOINT LOCATION: (\S+)/.exec(label)?.[1] ?? '';
    const segmentOf = (lsn: string) => walSegmentName({ timeline: 1, number: segmentNumberAt(parseLsn(lsn), segmentBytes) }, segmentBytes);
    const pathOf = async (table: string) =>
      (await this.query<{ path: string }>(`SELECT pg_relation_filepath('${table}') AS path`))[0]?.path ?? '';
    this.#facts = {
      archive,
      bring: `cp "${archive}/%f" "%p"`,
      redoLsn,
      redoSegment: segmentOf(redoLsn),
      checkpointSegment: segmentOf(checkpointLsn),
      oldTable: await pathOf('old_table'),
      newTable: await pathOf('new_table'),
      otherInstallation,
    };
    await this.flush();
  }

  /** A spread checkpoint, during which segments are switched: redo and checkpoint lie apart. @returns backup_label */
  async #takeBackup(): Promise<string> {
    const state = { isStarted: false };
    const starting = startBackupSession(this.#server, { label: 'recorder', fast: false }).finally(() => (state.isStarted = true));
    while (!state.isStarted) {
      await this.query(`INSERT INTO busy_table VALUES ('during the checkpoint')`);
      await this.query('SELECT pg_switch_wal()');
      await delay(200);
    }
    await using session = await starting;
    const backup = join(this.directory, 'backup');
    await execa('cp', ['-a', this.#dataDirectory, backup]);
    await this.query(`INSERT INTO busy_table VALUES ('during the backup')`);
    await this.query('SELECT pg_switch_wal()');
    await this.query(`INSERT INTO busy_table VALUES ('during the backup')`);
    const { labelFile } = await session.stop();
    await rm(join(backup, 'postmaster.pid'));
    await rm(join(backup, 'pg_wal'), { recursive: true });
    await mkdir(join(backup, 'pg_wal'), { mode: 0o700 });
    await writeFile(join(backup, 'backup_label'), labelFile);
    return labelFile;
  }
}

/** Waits for a condition. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + boundMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${boundMs} ms`);
    await delay(50);
  }
}

async function textOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // PostgreSQL gave up before it wrote there.
    return '';
  }
}
