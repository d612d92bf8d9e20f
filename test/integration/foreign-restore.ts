/** Restores from our archive without a line of ours: by tar, zstd and pg_ctl, and by stock wal-g. */
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createWriteStream } from 'node:fs';
import { execa } from 'execa';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import type { DemoSite } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { waitUntil } from '../harness/wait-until.ts';

/** WALG_BIN, else wal-g on PATH. */
export async function walgExecutable(): Promise<string | undefined> {
  return await working(process.env['WALG_BIN'] ?? 'wal-g', ['--version']);
}

/** zstd, where tar is there too. */
export async function zstdExecutable(): Promise<string | undefined> {
  return (await working('tar', ['--version'])) === undefined ? undefined : await working('zstd', ['--version']);
}

/** Copies the archive out of the bucket and restores it to its end; the table is dropped there, so the target is the transaction before. */
export async function restoreWithPlainTools(site: DemoSite, dataDirectory: string): Promise<string | null> {
  const archive = join(site.directory, 'bucket');
  await copyArchive(site, archive);
  const backup = await backupName(site);
  await mkdir(dataDirectory, { mode: 0o700 });
  const tars = join(archive, 'basebackups_005', backup, 'tar_partitions');
  await execa({
    shell: '/bin/sh',
    cwd: tars,
  })`for part in part_*.tar.zst pg_control.tar.zst backup_label.tar.zst; do zstd -dcq "$part" | tar -xf - -C ${dataDirectory} || exit 1; done`;
  return await recoverAndAsk(site, { dataDirectory, restoreCommand: `zstd -dqf -o "%p" "${archive}/wal_005/%f.zst"`, environment: {} });
}

/** The same by `wal-g backup-fetch` and `wal-g wal-fetch`, straight from S3. */
export async function restoreWithWalG(
  site: DemoSite,
  options: { readonly executable: string; readonly dataDirectory: string },
): Promise<string | null> {
  const { executable, dataDirectory } = options;
  const environment = { ...site.environment, WALG_S3_PREFIX: site.s3.url('shop') };
  await execa(executable, ['backup-fetch', dataDirectory, await backupName(site)], { env: environment });
  return await recoverAndAsk(site, { dataDirectory, restoreCommand: `"${executable}" wal-fetch "%f" "%p"`, environment });
}

interface ForeignRecovery {
  readonly dataDirectory: string;
  readonly restoreCommand: string;
  readonly environment: Readonly<Record<string, string>>;
}

async function recoverAndAsk(site: DemoSite, recovery: ForeignRecovery): Promise<string | null> {
  const { dataDirectory, restoreCommand } = recovery;
  const port = await freePort();
  const target = await transactionOfDrop(site);
  const settings = {
    port: String(port),
    archive_command: '',
    archive_mode: 'off',
    restore_command: restoreCommand,
    recovery_target_xid: target,
    recovery_target_inclusive: 'off',
    recovery_target_action: 'promote',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`);
  await appendFile(join(dataDirectory, 'postgresql.auto.conf'), lines.join(''));
  await writeFile(join(dataDirectory, 'recovery.signal'), '');
  const pgCtl = join(site.installation.binDirectory, 'pg_ctl');
  site.restored.push(dataDirectory);
  await execa(pgCtl, ['start', '-w', '-D', dataDirectory, '-l', join(dataDirectory, 'start.log')], {
    env: recovery.environment,
    stdin: 'ignore',
  });
  const server = { ...site.source.server, port };
  await waitUntil(async () => (await ask(server, 'SELECT pg_is_in_recovery()')) === 'f', {
    timeoutMs: 30_000,
    description: 'the promotion',
  });
  const email = await ask(server, `SELECT email FROM customers WHERE username = 'linus'`);
  await execa(pgCtl, ['stop', '-m', 'fast', '-w', '-D', dataDirectory]);
  return email;
}

async function ask(server: DemoSite['source']['server'], sql: string): Promise<string | null> {
  await using connection = await connectServer(server);
  return await connection.queryFirstValue(sql);
}

/** The first restore of the story left it out, and its report says which it was. */
async function transactionOfDrop(site: DemoSite): Promise<string> {
  const report = await site.client.getRestore(`restore/demo-host/${join(site.directory, 'shop-before-drop').slice(1)}`).result();
  if (report.firstCommitLeftOut?.xid == null) throw new Error('the report names no transaction that was left out');
  return report.firstCommitLeftOut.xid;
}

async function backupName(site: DemoSite): Promise<string> {
  await using store = openObjectStore(site.s3.url('shop'), site.s3.settings);
  const name = (await listBaseBackups(store)).backups.at(-1)?.name;
  if (name === undefined) throw new Error('the archive holds no base backup');
  return name;
}

async function copyArchive(site: DemoSite, directory: string): Promise<void> {
  await using store = openObjectStore(site.s3.url('shop'), site.s3.settings);
  for await (const { key } of store.list('')) {
    const object = await store.get(key);
    const path = join(directory, key);
    await mkdir(dirname(path), { recursive: true });
    if (object !== undefined) await pipeline(object.body, createWriteStream(path));
  }
}

async function working(program: string, args: readonly string[]): Promise<string | undefined> {
  const run = await execa(program, args, { reject: false });
  return run.exitCode === 0 ? program : undefined;
}
