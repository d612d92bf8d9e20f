import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKey } from 'openpgp';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { withWholeChains } from '../../src/archive/chain-listing.ts';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import { openObjectCipher } from '../../src/archive/encryption.ts';
import { libsodiumKey } from '../../src/archive/encryption/libsodium-key.ts';
import { createWalArchive, type WalArchive } from '../../src/archive/wal-archive.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import { fixtures, runWalG, walG } from '../harness/wal-g.ts';
import { contentsOf, keptFiles, makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

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

/** The same key, as WAL-G's settings may hold it. */
const sodiumKeys = {
  none: 'a passphrase of more than 32 letters, of which 32 count',
  hex: 'c0ffee00'.repeat(8),
  base64: Buffer.from('c0ffee00'.repeat(8), 'hex').toString('base64'),
} as const;

describe.skipIf(walG === undefined)('stock wal-g with libsodium', () => {
  it.each(['none', 'hex', 'base64'] as const)('restores what we wrote with a key in %s, and we what it wrote', async (transform) => {
    await using directory = await temporaryDirectory();
    const key = { WALG_LIBSODIUM_KEY: sodiumKeys[transform], WALG_LIBSODIUM_KEY_TRANSFORM: transform };
    const cipher = await openObjectCipher({ ...noKeys, libsodium: { key: libsodiumKey(sodiumKeys[transform], transform) } });
    const source = join(directory.path, 'source');
    await makeDataDirectory(source);
    const { store, root } = await storeIn(directory.path);
    const options = { store, dataDirectory: source, compression: 'zstd', cipher, start, stop: async () => stopped } as const;
    await completeBaseBackup(store, await uploadBaseBackup(options));
    const target = join(directory.path, 'target');
    await runWalG(root, ['backup-fetch', target, start.name], key);
    const [contents, original] = [await contentsOf(target), await contentsOf(source)];
    for (const name of Object.keys(keptFiles)) expect(contents[name]).toBe(original[name]);
    const archive = createWalArchive(store, { compression: 'lz4', cipher, segmentBytes });
    const [ours, theirs] = ['000000010000000000000003', '000000010000000000000004'];
    for (const name of [ours, theirs]) await writeFile(join(directory.path, name), walSegment({ name }));
    await archive.push({ path: join(directory.path, ours), name: ours, systemIdentifier });
    await runWalG(root, ['wal-push', join(directory.path, theirs)], { ...key, PGDATA: directory.path });
    await assertFetched(archive, directory.path, theirs);
    expect(await archive.push({ path: join(directory.path, theirs), name: theirs, systemIdentifier })).toBe('already-stored');
    const fetched = join(directory.path, 'fetched-by-wal-g');
    await runWalG(root, ['wal-fetch', ours, fetched], { ...key, WALG_DOWNLOAD_CONCURRENCY: '1', WALG_PG_WAL_SIZE: '1' });
    expect((await readFile(fetched)).equals(walSegment({ name: ours }))).toBe(true);
  });
});

describe.skipIf(walG === undefined)('stock wal-g with OpenPGP', () => {
  it.each(['rsa', 'curve25519'] as const)('wal-push with a %s key is fetched by us', async (type) => {
    await using directory = await temporaryDirectory();
    const passphrase = 'of the key';
    const { privateKey } = await generateKey({
      type,
      ...(type === 'rsa' ? { rsaBits: 2048 } : {}),
      userIDs: [{ name: 'backup' }],
      passphrase,
    });
    const { store, root } = await storeIn(directory.path);
    const name = '000000010000000000000003';
    await writeFile(join(directory.path, name), walSegment({ name }));
    await runWalG(root, ['wal-push', join(directory.path, name)], {
      WALG_PGP_KEY: privateKey,
      WALG_PGP_KEY_PASSPHRASE: passphrase,
      PGDATA: directory.path,
    });
    const cipher = await openObjectCipher({ ...noKeys, openPgp: { armored: privateKey, passphrase } });
    const archive = createWalArchive(store, { compression: 'zstd', cipher, segmentBytes });
    await assertFetched(archive, directory.path, name);
    expect(await archive.readHeader(name)).toMatchObject({ systemIdentifier });
    const unwritten = { path: join(directory.path, name), name: '000000010000000000000004', systemIdentifier };
    await expect(archive.push(unwritten)).rejects.toMatchObject({ code: 'ENCRYPTION_READ_ONLY' });
  });
});

const noKeys = { encryption: undefined, libsodium: undefined, openPgp: undefined, foreignSetting: undefined } as const;

async function assertFetched(archive: WalArchive, directory: string, name: string): Promise<void> {
  const destination = join(directory, 'fetched');
  expect(await archive.fetch({ name, destination, systemIdentifier })).toBe('fetched');
  expect((await readFile(destination)).equals(walSegment({ name }))).toBe(true);
}

describe.skipIf(fixtures === undefined)('an archive that stock WAL-G wrote', () => {
  it('is listed, its WAL is fetched, its backups are fetched, full and deltas', async () => {
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
    // The files of the last take as many bytes as its sentinel says, and its parts, until they are proven, those of the largest delta.
    expect(withWholeChains(backups).map(({ restoredBytes }) => restoredBytes)).toEqual([
      undefined,
      24_807_696 + 226_130,
      24_832_272 + 226_130,
    ]);
    const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: 16 * 1024 * 1024 });
    const { segments } = await archive.list();
    expect(segments.size).toBe(8);
    const destination = join(directory.path, 'RECOVERYXLOG');
    for (const name of segments)
      expect(await archive.fetch({ name, destination, systemIdentifier: '7711261887042777698' })).toBe('fetched');
    for (const { name } of backups) {
      const into = join(directory.path, `target-${name}`);
      const options = { store, into, stateDirectory: join(into, 'walkback_restore'), backup: name };
      await fetchBaseBackup(options);
      await rm(options.stateDirectory, { recursive: true });
      const ours = await contentsOf(into);
      expect(Object.keys(ours)).toEqual(expect.arrayContaining(['PG_VERSION', 'global/pg_control', 'backup_label', 'pg_wal/']));
      if (walG === undefined) continue;
      const theirs = join(directory.path, `by-wal-g-${name}`);
      await runWalG(join(directory.path, 'archive'), ['backup-fetch', theirs, name]);
      expect(ours).toEqual(await contentsOf(theirs));
    }
  });
});
