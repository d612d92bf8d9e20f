import { appendFile, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../../src/archive/base-backup-fetch.ts';
import type { UploadedBaseBackup } from '../../../src/archive/base-backup-push.ts';
import { ChangedBlocks } from '../../../src/archive/push/changed-blocks.ts';
import type { BackupSession } from '../../../src/postgres/backup-session.ts';
import { readWalSummaries } from '../../../src/postgres/wal-summaries.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { switchWal } from '../../../src/postgres/wal-switch.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';
import { availableInstallations, createTestCluster, freePort, type TestCluster } from '../../harness/postgres.ts';
import { temporaryDirectory } from '../../harness/temp.ts';
import { takeBackup, takeIncremental, verifierOf, verifyBackup } from './take-backup.ts';

const walG = process.env['WALG_BIN'];
if (walG === undefined) process.stderr.write('No WALG_BIN: incremental backups are restored without stock wal-g here.\n');
const installations = await availableInstallations();
/** The distribution's has pg_verifybackup; the newest has data checksums by itself, and WAL summaries. */
const tested = [installations.find((candidate) => verifierOf(candidate) !== undefined), installations.at(-1)].filter(
  (found, index, all) => found !== undefined && all.indexOf(found) === index,
);
const rowsSql = `SELECT concat_ws(' ', (SELECT md5(string_agg(t::text, ',' ORDER BY i)) FROM t), (SELECT count(*) FROM grown), (SELECT count(*) FROM cut),
  (SELECT sum(i) FROM still), (SELECT count(*) FROM late), (SELECT count(*) FROM pg_class WHERE relname = 'dropped')) AS rows`;

interface Scene {
  readonly source: TestCluster;
  readonly store: ObjectStore;
  readonly path: (name: string) => string;
}

/** As if the server had run for an hour: what was written a moment ago is never taken for unchanged. */
async function age(dataDirectory: string): Promise<void> {
  const then = new Date(Date.now() - 3_600_000);
  for (const name of await readdir(join(dataDirectory, 'base'), { recursive: true, withFileTypes: true }))
    if (name.isFile()) await utimes(join(name.parentPath, name.name), then, then);
}

async function change(source: TestCluster, round: number): Promise<void> {
  await source.query(`UPDATE t SET text = 'round ${round}' WHERE i % 5000 = 0`);
  await source.query(`INSERT INTO grown SELECT generate_series(1, 20000)`);
  await source.query(`DELETE FROM cut WHERE i > ${20000 - round * 5000}`);
  await source.query('VACUUM cut');
  await source.query(`DROP TABLE IF EXISTS dropped`);
  await source.query(`CREATE TABLE IF NOT EXISTS late AS SELECT generate_series(1, 3000) AS i`);
}

async function scene(source: TestCluster, directory: string): Promise<Scene> {
  await mkdir(join(directory, 'archive'));
  await source.query(`CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 100000) i`);
  for (const name of ['grown', 'cut', 'still', 'dropped'])
    await source.query(`CREATE TABLE ${name} AS SELECT generate_series(1, 20000) AS i`);
  await source.query('CHECKPOINT');
  await age(source.dataDirectory);
  return { source, store: createFileObjectStore({ directory: join(directory, 'archive') }), path: (name) => join(directory, name) };
}

/** How the files of a backup are stored. */
async function storedFiles({ path }: Scene, backup: string): Promise<readonly [string, { IsSkipped: boolean; IsIncremented: boolean }][]> {
  const text = await readFile(path(`archive/basebackups_005/${backup}/files_metadata.json`), 'utf8');
  const { Files } = JSON.parse(text) as { Files: Record<string, { IsSkipped: boolean; IsIncremented: boolean }> };
  return Object.entries(Files);
}

async function relationFile({ source }: Scene, name: string): Promise<string> {
  const [row] = await source.query<{ path: string }>('SELECT pg_relation_filepath($1::regclass) AS path', [name]);
  return `/${row!.path}`;
}

/** Starts the restored directory and reads what it holds at the end of the WAL. */
async function rowsOf({ source, path }: Scene, dataDirectory: string): Promise<string> {
  const { binDirectory } = source.installation;
  const port = await freePort();
  const settings = [
    'archive_mode = off',
    `restore_command = 'cp ${path('wal')}/%f "%p"'`,
    `port = ${port}`,
    `unix_socket_directories = '${path('')}'`,
    "listen_addresses = ''",
  ];
  await appendFile(join(dataDirectory, 'postgresql.auto.conf'), `${settings.join('\n')}\n`);
  await writeFile(join(dataDirectory, 'recovery.signal'), '');
  await startServer({ binDirectory, dataDirectory, logFile: `${dataDirectory}.log`, timeoutMs: 60_000, until: 'accepting' });
  try {
    await using connection = await connectServer({ ...source.connectOptions, host: path(''), port });
    const [row] = await connection.query<{ rows: string }>(rowsSql);
    return row!.rows;
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: 10_000 });
  }
}

/** What the server's WAL summaries say; before 17 there are none. */
async function summarizedSince(source: TestCluster, session: BackupSession, sinceLsn: string): Promise<ChangedBlocks | undefined> {
  await using connection = await connectServer(source.connectOptions);
  const changed = new ChangedBlocks();
  const range = { timeline: session.timeline, fromLsn: sinceLsn, toLsn: session.startLsn };
  const isComplete = await readWalSummaries(connection, range, (block) => changed.add(block));
  expect(isComplete).toBe(source.installation.major >= 17);
  return isComplete ? changed : undefined;
}

async function fetchByWalG({ path }: Scene, backup: UploadedBaseBackup): Promise<string> {
  const into = path(`walg-${backup.backup.name}`);
  const env = { PATH: process.env['PATH']!, HOME: path(''), WALG_FILE_PREFIX: path('archive'), WALG_DOWNLOAD_FILE_RETRIES: '1' };
  await execa(walG!, ['backup-fetch', into, backup.backup.name], { extendEnv: false, env });
  return into;
}

async function flushWal({ source }: Scene): Promise<void> {
  await using connection = await connectServer(source.connectOptions);
  const { segment } = await switchWal(connection);
  await expect
    .poll(
      async () => {
        const [row] = await source.query<{ done: boolean }>('SELECT last_archived_wal >= $1 AS done FROM pg_stat_archiver', [segment]);
        return row!.done;
      },
      { timeout: 20_000 },
    )
    .toBe(true);
}

describe.each(tested.map((installation) => ({ installation: installation!, name: `PostgreSQL ${installation!.major}` })))(
  'incremental backups of $name',
  ({ installation }) => {
    it('hold what changed, in WAL-G deltas that our fetch and stock wal-g restore', async () => {
      await using directory = await temporaryDirectory('wb-incr');
      await mkdir(directory.join('wal'));
      const summaries: Record<string, string> = installation.major >= 17 ? { summarize_wal: 'on' } : {};
      const settings = {
        ...summaries,
        archive_mode: 'on',
        archive_command: `cp %p ${directory.join('wal')}/%f`,
        wal_level: 'replica',
        autovacuum: 'off',
      };
      await using source = await createTestCluster({ installation, name: 'incr', settings, dataChecksums: true });
      const current = await scene(source, directory.path);
      const full = await takeBackup(source, current.store);
      await change(source, 1);
      const first = await takeIncremental(source, current.store);
      await change(source, 2);
      const second = await takeIncremental(source, current.store);
      expect([first, second].map(({ origin }) => [origin?.from, origin?.fullName, origin?.stepCount])).toEqual([
        [full.backup.name, full.backup.name, 1],
        [first.backup.name, full.backup.name, 2],
      ]);
      const files = new Map(await storedFiles(current, second.backup.name));
      expect(files.get(await relationFile(current, 'still'))).toMatchObject({ IsSkipped: true });
      for (const name of ['t', 'grown', 'cut']) expect(files.get(await relationFile(current, name))).toMatchObject({ IsIncremented: true });
      await change(source, 3);
      const third = await takeIncremental(source, current.store, (session, sinceLsn) => summarizedSince(source, session, sinceLsn));
      expect((await storedFiles(current, third.backup.name)).filter(([, { IsIncremented }]) => IsIncremented).length).toBeGreaterThan(3);
      expect(second.backup.uncompressedBytes * 3).toBeLessThan(full.backup.uncompressedBytes);
      const expected = (await source.query<{ rows: string }>(rowsSql))[0]!.rows;
      await flushWal(current);
      const ours = directory.join('ours');
      await fetchBaseBackup({ store: current.store, backup: third.backup.name, into: ours, stateDirectory: directory.join('ours-state') });
      await verifyBackup(verifierOf(installation), ours);
      expect(await rowsOf(current, ours)).toBe(expected);
      if (walG === undefined) return;
      const into = await fetchByWalG(current, third);
      await verifyBackup(verifierOf(installation), into);
      expect(await rowsOf(current, into)).toBe(expected);
    });
  },
);
