/** A tree that looks like a data directory, and what a tree holds. */
import { createHash } from 'node:crypto';
import { lstat, mkdir, open, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { BackupStart, BackupStop } from '../../../src/archive/base-backup-push.ts';

/** Content that does not compress away, the same each time. */
export function patternBytes(sizeBytes: number, seed: string): Buffer {
  const block = createHash('sha512').update(seed).digest();
  const bytes = Buffer.alloc(sizeBytes);
  for (let offset = 0; offset < sizeBytes; offset += 4096) {
    const piece = Buffer.concat([block, Buffer.from(String(offset))]);
    piece.copy(bytes, offset);
  }
  return bytes;
}

const longName = `${'n'.repeat(120)}.conf`;

/** Files that a base backup must hold. */
export const keptFiles: Readonly<Record<string, Buffer>> = {
  PG_VERSION: Buffer.from('16\n'),
  'postgresql.conf': Buffer.from('port = 5432\n'),
  'postgresql.auto.conf': Buffer.from(''),
  'global/1262': patternBytes(8192, 'global'),
  'base/5/1259': patternBytes(3 * 1024 * 1024 + 8192, 'large'),
  'base/5/1259_fsm': patternBytes(24576, 'fsm'),
  'base/5/16385': patternBytes(64 * 1024, 'at the limit'),
  'base/5/16386': patternBytes(64 * 1024 + 1, 'over the limit'),
  'base/5/PG_VERSION': Buffer.from('16\n'),
  'base/16384/2600': patternBytes(200_000, 'two'),
  'pg_xact/0000': patternBytes(8192, 'xact'),
  'pg_multixact/offsets/0000': patternBytes(8192, 'offsets'),
  [`conf.d/${longName}`]: Buffer.from('long\n'),
  'conf.d/größe ünd 日本.conf': Buffer.from('names\n'),
};
const leftOutFiles = [
  'postmaster.pid',
  'postmaster.opts',
  'base/5/pg_internal.init',
  'base/5/t3_16390',
  'base/pgsql_tmp/pgsql_tmp123.0',
  'pg_wal/000000010000000000000005',
  'pg_replslot/one/state',
  'pg_stat_tmp/global.stat',
  'backup_label.old',
  'walkback_restore/parts/x',
  'standby.signal',
];
export const emptyDirectories = ['pg_wal', 'pg_replslot', 'pg_twophase', 'pg_dynshmem', 'pg_tblspc', 'pg_stat_tmp', 'pg_logical/mappings'];

export const controlFile = patternBytes(8192, 'control');

export async function writeTree(root: string, files: Readonly<Record<string, Buffer>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true, mode: 0o700 });
    await writeFile(join(root, name), content, { mode: 0o600 });
  }
}

/** Makes the tree: regular files, empty directories, a sparse file, things to be left out. */
export async function makeDataDirectory(root: string): Promise<void> {
  await mkdir(root, { mode: 0o700 });
  await writeTree(root, { ...keptFiles, 'global/pg_control': controlFile });
  await writeTree(root, Object.fromEntries(leftOutFiles.map((name) => [name, Buffer.from('must not come along')])));
  for (const name of emptyDirectories) await mkdir(join(root, name), { recursive: true, mode: 0o700 });
  const sparse = await open(join(root, 'base/5/sparse'), 'w', 0o600);
  await sparse.truncate(2 * 1024 * 1024);
  await sparse.close();
}

/** Adds a tablespace outside the tree. */
export async function addTablespace(root: string, location: string): Promise<void> {
  await writeTree(location, {
    'PG_16_202307071/5/16400': patternBytes(16384, 'tablespace'),
    'PG_15_202209061/5/1': Buffer.from('another server'),
  });
  await symlink(location, join(root, 'pg_tblspc/16399'));
}

/** Every regular file below the root with its SHA-256; directories with `/` at the end. */
export async function contentsOf(root: string): Promise<Readonly<Record<string, string>>> {
  const names = await readdir(root, { recursive: true });
  const contents: Record<string, string> = {};
  for (const name of names.sort()) {
    const status = await lstat(join(root, name));
    if (status.isDirectory()) contents[`${name}/`] = 'directory';
    else
      contents[name] = status.isFile()
        ? createHash('sha256')
            .update(await readFile(join(root, name)))
            .digest('hex')
        : 'other';
  }
  return contents;
}

export const start: BackupStart = {
  name: 'base_000000010000000000000005',
  timeline: 1,
  startLsn: '0/5000028',
  startTime: '2026-11-22T10:00:00.123456Z',
  pgVersion: 160014,
  systemIdentifier: '7711261887042777698',
  hostname: 'db1',
  walSegmentBytes: 16 * 1024 * 1024,
};

export const stopped: BackupStop = {
  finishLsn: '0/5000138',
  finishTime: '2026-11-22T10:00:07.5Z',
  labelFile: 'START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n',
  tablespaceMap: '',
};
