import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../../src/archive/base-backup-fetch.ts';
import { listBaseBackups } from '../../../src/archive/catalog.ts';
import type { PageDamage } from '../../../src/domain/base-backup.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { nameDamagedRelations } from '../../../src/postgres/damaged-relations.ts';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../../harness/temp.ts';
import { takeBackup, verifierOf, verifyBackup } from './take-backup.ts';

const walG = process.env['WALG_BIN'];
const installations = await availableInstallations();
/** pg_verifybackup comes with a whole PostgreSQL only. */
const installation = installations.find((candidate) => verifierOf(candidate) !== undefined) ?? installations.at(-1)!;
const verifier = verifierOf(installation);
if (verifier === undefined) process.stderr.write('No pg_verifybackup on this machine: restored directories are not verified with it.\n');

let directory: TemporaryDirectory;
let source: TestCluster;
let store: ObjectStore;

beforeAll(async () => {
  directory = await temporaryDirectory('wb-pages');
  source = await createTestCluster({ installation, name: 'pages', dataChecksums: true });
  await mkdir(directory.join('archive'));
  store = createFileObjectStore({ directory: directory.join('archive') });
  await source.query('CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 100000) i');
  await source.query('CREATE UNLOGGED TABLE u AS SELECT i FROM generate_series(1, 10000) i');
  await source.query('CREATE INDEX ON t (text)');
  await source.query('CHECKPOINT');
});

afterAll(async () => {
  await source[Symbol.asyncDispose]();
  await directory.remove();
});

async function fetchInto(backup: string, name: string): Promise<string> {
  const into = directory.join(name);
  await fetchBaseBackup({ store, backup, into, stateDirectory: directory.join(`${name}-state`) });
  return into;
}

async function pathOf(relation: string): Promise<string> {
  const [row] = await source.query<{ path: string }>('SELECT pg_relation_filepath($1::regclass) AS path', [relation]);
  return row!.path;
}

async function flipByte(path: string, positionBytes: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, positionBytes);
    await file.write(Buffer.from([byte.readUInt8(0) ^ 0x10]), 0, 1, positionBytes);
  } finally {
    await file.close();
  }
}

describe('a base backup of a cluster with data checksums', () => {
  it.each(['crc32c', 'sha256'] as const)('is found whole by pg_verifybackup right after its fetch, with %s', async (manifestChecksum) => {
    const { backup, damage } = await takeBackup(source, store, { manifestChecksum });
    expect(damage).toBeNull();
    const into = await fetchInto(backup.name, `ours-${manifestChecksum}`);
    const manifest = await readFile(join(into, 'backup_manifest'), 'utf8');
    expect(Object.keys(JSON.parse(manifest) as object)).toContain('WAL-Ranges');
    expect(manifest).toContain(`"Checksum-Algorithm": "${manifestChecksum.toUpperCase()}"`);
    await verifyBackup(verifier, into);
    // An unlogged relation is made anew of its init fork.
    expect(manifest).toContain(`"${await pathOf('u')}_init"`);
    expect(manifest).not.toContain(`"${await pathOf('u')}"`);
    await rm(into, { recursive: true });
  });

  it.skipIf(walG === undefined)('is found whole by pg_verifybackup when stock wal-g restored it', async () => {
    const { backup } = await takeBackup(source, store);
    const into = directory.join('by-wal-g');
    await execa(walG!, ['backup-fetch', into, backup.name], {
      extendEnv: false,
      env: { PATH: process.env['PATH']!, HOME: directory.path, WALG_FILE_PREFIX: directory.join('archive') },
    });
    expect(await readFile(join(into, 'backup_manifest'), 'utf8')).toContain('"Manifest-Checksum"');
    await verifyBackup(verifier, into);
    await rm(into, { recursive: true });
  });

  it('names damaged pages by relation, file and block, is marked, and fails where that is wanted', async () => {
    const file = await pathOf('t');
    await flipByte(join(source.dataDirectory, file), 5 * 8192 + 4000);
    await flipByte(join(source.dataDirectory, file), 7 * 8192 + 100);
    const seen: unknown[] = [];
    const { backup, damage } = await takeBackup(source, store, { onProgress: (progress) => seen.push(progress.damage) });
    expect(damage).toEqual({ blockCount: 2, files: [{ file, blockCount: 2, blocks: [5, 7] }] });
    expect(seen.at(-1)).toEqual(damage);
    const { backups } = await listBaseBackups(store);
    expect(backups.map(({ damagedBlockCount }) => damagedBlockCount)).toEqual([...backups.slice(1).map(() => undefined), 2]);
    const files = JSON.parse(await readFile(directory.join(`archive/basebackups_005/${backup.name}/files_metadata.json`), 'utf8')) as {
      Files: Record<string, object>;
    };
    expect(files.Files[`/${file}`]).toMatchObject({ CorruptBlocks: { CorruptBlocksCount: 2, SomeCorruptBlocks: [5, 7] } });
    const ours = JSON.parse(await readFile(directory.join(`archive/walkback_001/backups/${backup.name}.json`), 'utf8')) as object;
    expect(ours).toMatchObject({ damage });
    const describeDamage = (found: PageDamage) => nameDamagedRelations(source.connectOptions, found);
    const byRelation = await takeBackup(source, store, { describeDamage });
    expect(byRelation.damage?.files).toEqual([{ file, relation: 'postgres.public.t', blockCount: 2, blocks: [5, 7] }]);
    const refused = takeBackup(source, store, { onDamage: 'fail', describeDamage });
    await expect(refused).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_DAMAGED',
      message: expect.stringContaining(`${file}, postgres.public.t (block 5, 7)`),
      facts: { blockCount: 2 },
    });
  });

  it('names the relation of a damaged file in whichever database and tablespace it lies, and leaves a file alone that no relation has', async () => {
    await source.query('CREATE DATABASE "Other"');
    await mkdir(directory.join('space'));
    await source.query(`CREATE TABLESPACE space LOCATION '${directory.join('space')}'`);
    await source.query('CREATE TABLE spaced (i int PRIMARY KEY USING INDEX TABLESPACE space)');
    const other = { ...source.connectOptions, database: 'Other' };
    await using connection = await connectServer(other);
    await connection.query('CREATE TABLE "Mixed.Case" (i int)');
    const inOther = await connection.queryFirstValue(`SELECT pg_relation_filepath('"Mixed.Case"')`);
    const [oid] = await connection.query<{ oid: string }>('SELECT oid::text FROM pg_database WHERE datname = current_database()');
    const expected: [string, string | undefined][] = [
      [`${inOther}_fsm`, '"Other".public."Mixed.Case"'],
      [`${await pathOf('spaced_pkey')}.1`, 'postgres.public.spaced_pkey'],
      [await pathOf('pg_catalog.pg_authid'), 'pg_catalog.pg_authid'],
      [await pathOf('pg_catalog.pg_class'), 'postgres.pg_catalog.pg_class'],
      [`base/${oid!.oid}/4000000001`, undefined],
      ['base/4000000002/16384', undefined],
      ['base/1/no-relation', undefined],
    ];
    const files = expected.map(([file]) => ({ file, blockCount: 1, blocks: [0] }));
    const named = await nameDamagedRelations(source.connectOptions, { blockCount: files.length, files });
    expect(named.files.map(({ file, relation }) => [file, relation])).toEqual(expected);
    const many = Array.from({ length: 21 }, () => ({ file: inOther!, blockCount: 1, blocks: [0] }));
    const ofMany = await nameDamagedRelations(source.connectOptions, { blockCount: many.length, files: many });
    expect(ofMany.files.filter(({ relation }) => relation !== undefined)).toHaveLength(20);
    // A server that is gone keeps nothing from being reported.
    const gone = { ...source.connectOptions, host: directory.path };
    expect(await nameDamagedRelations(gone, { blockCount: files.length, files })).toEqual({ blockCount: files.length, files });
  });
});
