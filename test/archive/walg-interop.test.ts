import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import { contentsOf, keptFiles, makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

const walG = findWalG();
const fixtures = [process.env['WALKBACK_FIXTURES'], resolve(import.meta.dirname, '../../../shared/fixtures')].find(
  (directory) => directory !== undefined && existsSync(join(directory, 'walg-zstd-deltas.tar')),
);
if (walG === undefined)
  process.stderr.write('\n*** SKIPPED: no wal-g (WALG_BIN or PATH): nothing proves that stock WAL-G reads what we write ***\n\n');
if (fixtures === undefined)
  process.stderr.write('\n*** SKIPPED: no fixtures (WALKBACK_FIXTURES): nothing proves that we read what stock WAL-G wrote ***\n\n');

describe.skipIf(walG === undefined)('stock wal-g', () => {
  it.each(['zstd', 'lz4', 'brotli', 'none'] as const)(
    'backup-fetch restores what we wrote with %s, and backup-list shows it',
    async (compression) => {
      await using directory = await temporaryDirectory();
      const source = join(directory.path, 'source');
      await makeDataDirectory(source);
      const { store, root } = await storeIn(directory.path);
      const uploaded = await uploadBaseBackup({
        store,
        dataDirectory: source,
        compression,
        partBytes: 512 * 1024,
        start,
        stop: async () => stopped,
      });
      await completeBaseBackup(store, uploaded);
      const target = join(directory.path, 'target');
      await runWalG(root, ['backup-fetch', target, start.name]);
      const [contents, original] = [await contentsOf(target), await contentsOf(source)];
      for (const name of [...Object.keys(keptFiles), 'base/5/sparse', 'global/pg_control']) expect(contents[name]).toBe(original[name]);
      expect(await readFile(join(target, 'backup_label'), 'utf8')).toBe(stopped.labelFile);
      expect(contents['pg_wal/']).toBe('directory');
      const listed = await runWalG(root, ['backup-list', '--detail', '--json']);
      expect(JSON.parse(listed)).toMatchObject([
        { backup_name: start.name, start_time: start.startTime, hostname: 'db1', pg_version: 160014, finish_lsn: 0x5000138 },
      ]);
      expect(listed).toContain(`"system_identifier":${start.systemIdentifier}`);
    },
  );

  it.each(['zstd', 'lz4', 'brotli', 'none'] as const)('wal-fetch gives the segment that we pushed with %s', async (compression) => {
    await using directory = await temporaryDirectory();
    const { store, root } = await storeIn(directory.path);
    const name = '000000010000000000000003';
    await writeFile(join(directory.path, name), walSegment({ name }));
    const archive = createWalArchive(store, { compression, segmentBytes });
    await archive.push({ path: join(directory.path, name), name, systemIdentifier });
    const destination = join(directory.path, 'fetched');
    await runWalG(root, ['wal-fetch', name, destination], { WALG_DOWNLOAD_CONCURRENCY: '1', WALG_PG_WAL_SIZE: '1' });
    expect((await readFile(destination)).equals(walSegment({ name }))).toBe(true);
  });

  it.each(['zstd', 'lz4', 'lzma', 'brotli', 'none'])('wal-push with %s is fetched by us', async (method) => {
    await using directory = await temporaryDirectory();
    const { store, root } = await storeIn(directory.path);
    const name = '000000010000000000000003';
    await mkdir(join(directory.path, 'pg_wal/archive_status'), { recursive: true });
    const path = join(directory.path, 'pg_wal', name);
    await writeFile(path, walSegment({ name }));
    await runWalG(root, ['wal-push', path], { WALG_COMPRESSION_METHOD: method, PGDATA: directory.path });
    const archive = createWalArchive(store, { compression: 'zstd', segmentBytes });
    const destination = join(directory.path, 'fetched');
    expect(await archive.fetch({ name, destination, systemIdentifier })).toBe('fetched');
    expect((await readFile(destination)).equals(walSegment({ name }))).toBe(true);
  });
});

describe.skipIf(fixtures === undefined)('an archive that stock WAL-G wrote', () => {
  it('is listed, its WAL is fetched, its full backup too, its deltas are refused', async () => {
    await using directory = await temporaryDirectory();
    execFileSync('tar', [
      '-xf',
      join(fixtures ?? '', 'walg-zstd-deltas.tar'),
      '--no-same-permissions',
      '--no-same-owner',
      '-C',
      directory.path,
    ]);
    const store = createFileObjectStore({ directory: join(directory.path, 'archive') });
    const { backups, damaged } = await listBaseBackups(store);
    expect(damaged).toEqual([]);
    expect(backups.map(({ systemIdentifier, deltaFrom }) => [systemIdentifier, deltaFrom === undefined])).toEqual([
      ['7711261887042777698', true],
      ['7711261887042777698', false],
      ['7711261887042777698', false],
    ]);
    const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: 16 * 1024 * 1024 });
    const { segments } = await archive.list();
    expect(segments.size).toBe(8);
    const destination = join(directory.path, 'RECOVERYXLOG');
    for (const name of segments)
      expect(await archive.fetch({ name, destination, systemIdentifier: '7711261887042777698' })).toBe('fetched');
    const [full, delta] = backups;
    const into = join(directory.path, 'target');
    const options = { store, into, stateDirectory: join(into, 'walkback_restore') };
    await expect(fetchBaseBackup({ ...options, backup: delta?.name ?? '' })).rejects.toMatchObject({ code: 'ARCHIVE_FORMAT_UNSUPPORTED' });
    await fetchBaseBackup({ ...options, backup: full?.name ?? '' });
    await rm(options.stateDirectory, { recursive: true });
    const ours = await contentsOf(into);
    expect(Object.keys(ours)).toEqual(expect.arrayContaining(['PG_VERSION', 'global/pg_control', 'backup_label', 'pg_wal/']));
    if (walG === undefined) return;
    const theirs = join(directory.path, 'by-wal-g');
    await runWalG(join(directory.path, 'archive'), ['backup-fetch', theirs, full?.name ?? '']);
    expect(ours).toEqual(await contentsOf(theirs));
  });
});

function findWalG(): string | undefined {
  const candidates = [
    process.env['WALG_BIN'],
    ...(process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, 'wal-g')),
  ];
  return candidates.find((path) => path !== undefined && path !== '' && isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there or not for us: the next candidate.
    return false;
  }
}

async function runWalG(
  root: string,
  commandArguments: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  return execFileSync(walG ?? 'wal-g', commandArguments, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: join(root, '..'), WALG_FILE_PREFIX: root, WALG_DOWNLOAD_FILE_RETRIES: '1', ...environment },
  });
}
