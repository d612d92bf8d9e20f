/** kill -9 of a base backup at seeded instants, while the server is written to. */
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../../src/archive/base-backup-fetch.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { switchWal } from '../../../src/postgres/wal-switch.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import { availableInstallations, createTestCluster, freePort, type TestCluster } from '../../harness/postgres.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../harness/temp.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { killCount } from './kill-count.ts';
import type { PushChildInput } from './push-child.ts';

const walG = process.env['WALG_BIN'];
const child = fileURLToPath(new URL('push-child.ts', import.meta.url));
const accounts = 20_000;
/** Money moves between accounts, so the sum shows a state that never was. */
const soundSql = `SELECT concat_ws(' ', count(*), sum(balance)) AS sound FROM accounts`;
const sound = `${accounts} ${accounts * 100}`;

let directory: TemporaryDirectory;
let source: TestCluster;
/** How long a push takes when nobody kills it. */
let wholeMs = 0;
const ended = new AbortController();
let load: Promise<void>;

beforeAll(async () => {
  directory = await temporaryDirectory('wb-kills');
  await mkdir(directory.join('archive'));
  await mkdir(directory.join('wal'));
  const installation = (await availableInstallations()).at(-1)!;
  const settings = { archive_mode: 'on', archive_command: `cp %p ${directory.join('wal')}/%f` };
  source = await createTestCluster({ installation, name: 'kills', settings, dataChecksums: true });
  await source.query(`CREATE TABLE accounts AS SELECT i, 100 AS balance, md5(i::text) AS note FROM generate_series(1, ${accounts}) i`);
  await source.query('CREATE UNIQUE INDEX ON accounts (i)');
  load = writeUntil(ended.signal);
  const startedMs = Date.now();
  await push({ isIncremental: false });
  wholeMs = Date.now() - startedMs;
});

afterAll(async () => {
  ended.abort();
  await load;
  await source[Symbol.asyncDispose]();
  await directory.remove();
});

async function writeUntil(signal: AbortSignal): Promise<void> {
  await using connection = await connectServer(source.connectOptions);
  for (let round = 1; !signal.aborted; round += 1) {
    const [from, to] = [1 + ((round * 7919) % accounts), 1 + ((round * 104_729) % accounts)];
    await connection.query(
      `UPDATE accounts SET balance = balance + CASE i WHEN ${from} THEN -1 ELSE 1 END WHERE i IN (${from}, ${to}) AND ${from} <> ${to}`,
    );
  }
}

/** Runs the child. @returns the backup's name; undefined when it was killed first */
async function push(options: { readonly isIncremental: boolean; readonly killAfterMs?: number }): Promise<string | undefined> {
  const { connectOptions, dataDirectory } = source;
  const input: PushChildInput = {
    source: { connectOptions, dataDirectory },
    archive: directory.join('archive'),
    record: directory.join('unfinished.json'),
    isIncremental: options.isIncremental,
  };
  const running = execa(process.execPath, [child, JSON.stringify(input)], { reject: false });
  const over = new AbortController();
  if (options.killAfterMs !== undefined)
    void delay(options.killAfterMs, undefined, { signal: over.signal }).then(
      () => running.kill('SIGKILL'),
      () => undefined,
    );
  const { exitCode, stdout, stderr, isTerminated } = await running;
  over.abort();
  if (isTerminated) return undefined;
  expect(stderr).toBe('');
  expect(exitCode).toBe(0);
  return stdout;
}

/** Between 0 and 1, the same for the same seed. */
function chance(seed: number): number {
  return createHash('sha256').update(`push ${seed}`).digest().readUInt32BE(0) / 2 ** 32;
}

/** Every object belongs to a backup that exists, and every backup has each object that its manifest names, byte for byte. */
async function assertWhole(): Promise<void> {
  const root = directory.join('archive');
  const names = (await readdir(join(root, 'basebackups_005'))).sort();
  const suffix = '_backup_stop_sentinel.json';
  const backups = names.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length));
  expect(names).toEqual([...backups, ...backups.map((name) => `${name}${suffix}`)].sort());
  const manifests = (await readdir(join(root, 'walkback_001/backups'))).map((name) => name.slice(0, -'.json'.length));
  expect(manifests.sort()).toEqual(backups.sort());
  await assertBackupWhole(root, backups.at(-1)!);
}

async function assertBackupWhole(root: string, backup: string): Promise<void> {
  const { objects } = JSON.parse(await readFile(join(root, `walkback_001/backups/${backup}.json`), 'utf8')) as {
    objects: { key: string; sha256: string }[];
  };
  for (const { key, sha256 } of objects) {
    const bytes = await readFile(join(root, key));
    expect([key, createHash('sha256').update(bytes).digest('hex')]).toEqual([key, sha256]);
  }
  const stored = await readdir(join(root, `basebackups_005/${backup}/tar_partitions`));
  const prefix = `basebackups_005/${backup}/tar_partitions/`;
  expect(stored.sort()).toEqual(
    objects
      .filter(({ key }) => key.startsWith(prefix))
      .map(({ key }) => key.slice(prefix.length))
      .sort(),
  );
}

async function flushWal(): Promise<void> {
  await using connection = await connectServer(source.connectOptions);
  const { segment } = await switchWal(connection);
  await waitUntil(
    async () => {
      const [row] = await source.query<{ done: boolean }>('SELECT last_archived_wal >= $1 AS done FROM pg_stat_archiver', [segment]);
      return row?.done === true;
    },
    { timeoutMs: 30_000, description: `${segment} is archived` },
  );
}

async function bring(backup: string, into: string): Promise<void> {
  if (!backup.includes('_D_')) {
    const store = createFileObjectStore({ directory: directory.join('archive') });
    await fetchBaseBackup({ store, backup, into, stateDirectory: `${into}-state` });
    return;
  }
  const env = { PATH: process.env['PATH']!, HOME: directory.path, WALG_FILE_PREFIX: directory.join('archive') };
  await execa(walG!, ['backup-fetch', into, backup], { extendEnv: false, env });
}

/** What a server started on the backup holds at the end of the WAL. */
async function restored(backup: string): Promise<string> {
  const into = directory.join('restored');
  await bring(backup, into);
  const port = await freePort();
  const settings = [
    'archive_mode = off',
    `restore_command = 'cp ${directory.join('wal')}/%f "%p"'`,
    `port = ${port}`,
    `unix_socket_directories = '${directory.path}'`,
    "listen_addresses = ''",
  ];
  await appendFile(join(into, 'postgresql.auto.conf'), `${settings.join('\n')}\n`);
  await writeFile(join(into, 'recovery.signal'), '');
  const { binDirectory } = source.installation;
  await startServer({ binDirectory, dataDirectory: into, logFile: `${into}.log`, timeoutMs: 60_000, until: 'accepting' });
  try {
    await using connection = await connectServer({ ...source.connectOptions, host: directory.path, port });
    return (await connection.queryFirstValue(soundSql)) ?? '';
  } finally {
    await stopServer({ dataDirectory: into, mode: 'immediate', timeoutMs: 10_000 });
    await rm(into, { recursive: true, force: true });
    await rm(`${into}-state`, { recursive: true, force: true });
  }
}

describe('kill -9 of a base backup', () => {
  const backups: string[] = [];

  it(
    `leaves nothing that the next one does not put right, ${killCount} times`,
    async () => {
      for (let seed = 1; seed <= killCount; seed += 1) {
        const isIncremental = seed % 3 !== 0;
        const killAfterMs = chance(seed) * wholeMs;
        const name = (await push({ isIncremental, killAfterMs })) ?? (await push({ isIncremental }));
        backups.push(name!);
        await assertWhole();
      }
      expect(new Set(backups).size).toBe(killCount);
    },
    120_000 + killCount * 20_000,
  );

  it('ends in backups of which PostgreSQL starts with every row', async () => {
    await flushWal();
    const full = backups.findLast((name) => !name.includes('_D_'));
    const incremental = walG === undefined ? undefined : backups.findLast((name) => name.includes('_D_'));
    for (const name of [full, incremental].filter((found) => found !== undefined))
      expect([name, await restored(name)]).toEqual([name, sound]);
  });
});
