import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKey } from 'openpgp';
import { describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { withWholeChains } from '../../src/archive/chain-listing.ts';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import { openObjectCipher } from '../../src/archive/encryption.ts';
import { libsodiumKey } from '../../src/archive/encryption/libsodium-key.ts';
import { createWalArchive, type WalArchive } from '../../src/archive/wal-archive.ts';
import { createFileObjectStore } from '../../src/storage/file-object-store.ts';
import { fixtures, runWalG, walG } from '../harness/wal-g.ts';
import { contentsOf } from './support/data-directory.ts';
import { noKeys, sodiumKeys } from './support/keys.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

describe.skipIf(walG === undefined)('stock wal-g', () => {
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

describe.skipIf(walG === undefined)('stock wal-g with libsodium', () => {
  it.each(['none', 'hex', 'base64'] as const)(
    'wal-push with a key in %s is fetched by us, and is the same as what we would push',
    async (transform) => {
      await using directory = await temporaryDirectory();
      const cipher = await openObjectCipher({ ...noKeys, libsodium: { key: libsodiumKey(sodiumKeys[transform], transform) } });
      const { store, root } = await storeIn(directory.path);
      const name = '000000010000000000000004';
      await writeFile(join(directory.path, name), walSegment({ name }));
      const environment = { WALG_LIBSODIUM_KEY: sodiumKeys[transform], WALG_LIBSODIUM_KEY_TRANSFORM: transform, PGDATA: directory.path };
      await runWalG(root, ['wal-push', join(directory.path, name)], environment);
      const archive = createWalArchive(store, { compression: 'lz4', cipher, segmentBytes });
      await assertFetched(archive, directory.path, name);
      expect(await archive.push({ path: join(directory.path, name), name, systemIdentifier })).toBe('already-stored');
    },
  );
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
