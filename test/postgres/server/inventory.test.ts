/** What is looked at in a recovered cluster before clients come: what came along, amcheck, row counts, page checksums. */
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyPages } from '../../../src/archive/verify-pages.ts';
import type { FindingKind } from '../../../src/domain/restored-findings.ts';
import { runAmcheck } from '../../../src/postgres/amcheck.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { takeInventory } from '../../../src/postgres/inventory.ts';
import { countRows } from '../../../src/postgres/row-counts.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const oldestAndNewest = [installations.at(0)!, installations.at(-1)!];

const source = [
  `CREATE TABLE t AS SELECT n, n::text AS label FROM generate_series(1, 500) AS n`,
  `CREATE INDEX broken ON t (n)`,
  `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass`,
  `CREATE UNLOGGED TABLE scratch (a int)`,
  `CREATE ROLE root_too SUPERUSER LOGIN PASSWORD 'root-Secret'`,
  `CREATE FOREIGN DATA WRAPPER elsewhere`,
  `CREATE SERVER far FOREIGN DATA WRAPPER elsewhere`,
  `CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'mapping-Secret')`,
  `CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 password=feed-Secret' PUBLICATION p WITH (connect = false)`,
  `DO $$ BEGIN SET LOCAL password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'md5-Secret'; END $$`,
];

describe.each(oldestAndNewest)('a recovered cluster of PostgreSQL $version', (installation) => {
  /** One that every machine has; a newer PostgreSQL refuses a recorded version of POSIX. */
  const collation = installation.major >= 17 ? 'pg_c_utf8' : 'POSIX';
  let cluster: TestCluster;

  beforeAll(async () => {
    const settings = { max_prepared_transactions: 5, max_logical_replication_workers: 0 };
    cluster = await createTestCluster({ installation, name: 'inventory', settings, dataChecksums: true, ownIdentity: true });
    for (const sql of source) await cluster.query(sql);
    await cluster.query(`CREATE INDEX t_label ON t (label COLLATE "${collation}")`);
    await cluster.query(`UPDATE pg_collation SET collversion = '0.1' WHERE collname = '${collation}'`);
    await cluster.query('ALTER SUBSCRIPTION feed ENABLE');
    await using session = await connectServer(cluster.connectOptions);
    // As CREATE EXTENSION pg_cron leaves it, which is not installed here.
    await session.query('SET allow_system_table_mods = on');
    await session.query(
      `INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) VALUES (99999, 'pg_cron', 10, 11, false, '1.6')`,
    );
    await session.query('BEGIN');
    await session.query(`INSERT INTO t VALUES (501, 'prepared')`);
    await session.query(`PREPARE TRANSACTION 'left over'`);
  });
  afterAll(async () => cluster[Symbol.asyncDispose]());

  it('tells everything that came along, without a secret, and switches subscriptions off', async () => {
    const findings = await takeInventory(cluster.connectOptions);
    const of = (kind: FindingKind) => findings.filter((finding) => finding.kind === kind).map(({ text }) => text);
    expect(findings.filter(({ kind }) => kind === 'not-inspected')).toEqual([]);
    expect(of('prepared-transaction')[0]).toMatch(/'left over' of admin in postgres/);
    expect(of('unlogged-table')[0]).toContain('scratch is unlogged');
    expect(of('invalid-index')[0]).toContain('The index broken is not valid');
    expect(of('user-mapping')[0]).toBe('The user mapping of public for the server far logs in elsewhere with a password of the source.');
    expect(of('scheduler')).toEqual(['The extension pg_cron is there, its background worker is not loaded: its jobs do not run.']);
    expect(of('md5-password')[0]).toContain('hashed has an MD5 password');
    expect(of('superuser')).toEqual(['root_too is a superuser that can log in with a password.']);
    expect(of('collation')[0]).toMatch(/(POSIX|pg_c_utf8).* was version 0\.1 at the source and is (unknown|1) here.*t_label/);
    expect(of('page-checksums')).toEqual([]);
    expect(of('subscription')[0]).toMatch(/feed is switched off.*carries a password/);
    expect(JSON.stringify(findings)).not.toMatch(/Secret/);
    expect(await cluster.query('SELECT subenabled FROM pg_subscription')).toEqual([{ subenabled: false }]);
    expect(await takeInventory(cluster.connectOptions)).toEqual(findings);
  });

  it('is not let open while a subscription in a database that nobody can look into is at work', async () => {
    await cluster.query('CREATE DATABASE dark');
    await using dark = await connectServer({ ...cluster.connectOptions, database: 'dark' });
    await dark.query(`CREATE SUBSCRIPTION hidden CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)`);
    await dark.query(`ALTER SUBSCRIPTION hidden ENABLE`);
    await cluster.query(`UPDATE pg_database SET datallowconn = false WHERE datname = 'dark'`);
    await expect(takeInventory(cluster.connectOptions)).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: expect.stringContaining('hidden in dark') as string,
    });
    await cluster.query(`UPDATE pg_database SET datallowconn = true WHERE datname = 'dark'`);
    // As a DROP DATABASE that was interrupted leaves it: told, and harmless.
    await takeInventory(cluster.connectOptions);
    await cluster.query(`UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'dark'`);
    const findings = await takeInventory(cluster.connectOptions);
    expect(findings).toContainEqual(expect.objectContaining({ kind: 'not-inspected', database: 'dark' }));
    await dark.query('ALTER SUBSCRIPTION hidden SET (slot_name = NONE)');
    await dark.query('DROP SUBSCRIPTION hidden');
  });

  it('counts rows table by table, as committed', async () => {
    await using connection = await connectServer(cluster.connectOptions);
    expect(await countRows(connection)).toEqual({ tables: [{ table: 'public.t', rows: 500 }], leftOut: 0 });
  });

  it('lets amcheck find an index that misses rows, and leaves no extension behind', async () => {
    await cluster.query(`ROLLBACK PREPARED 'left over'`);
    await cluster.query('CREATE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$');
    await cluster.query('CREATE TABLE u AS SELECT n FROM generate_series(1, 100) AS n');
    await cluster.query('CREATE INDEX u_same ON u (same(n))');
    const whole = await (async () => {
      await using connection = await connectServer(cluster.connectOptions);
      return await runAmcheck(connection);
    })();
    expect(whole.problems).toEqual([]);
    expect([whole.indexes, whole.tables].every((count) => count > 50)).toBe(true);
    await cluster.query('CREATE OR REPLACE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT $1 + 1000 $$');
    await using connection = await connectServer(cluster.connectOptions);
    expect((await runAmcheck(connection)).problems).toEqual([expect.stringMatching(/^u_same: .*lacks matching index tuple/)]);
    expect(
      await cluster.query(
        `SELECT 1 FROM pg_extension WHERE extname = 'amcheck' UNION ALL SELECT 1 FROM pg_namespace WHERE nspname LIKE 'walkback%'`,
      ),
    ).toEqual([]);
  });

  it('finds a page whose content is not the one that was written', async () => {
    const [row] = await cluster.query<{ path: string }>(`SELECT pg_relation_filepath('t') AS path`);
    const path = join(cluster.dataDirectory, row?.path ?? '');
    await cluster.stop();
    const { blockBytes, segmentBlocks } = await readControlData(cluster.dataDirectory);
    const pgVersion = installation.major * 10_000;
    const verify = () =>
      verifyPages(cluster.dataDirectory, {
        pgVersion,
        pages: { blockBytes, segmentBlocks, hasChecksums: true },
        signal: AbortSignal.timeout(30_000),
        onProgress: () => undefined,
      });
    const whole = await verify();
    expect([whole.damagedCount, whole.pages > 500]).toEqual([0, true]);
    const bytes = await readFile(path);
    await using file = await open(path, 'r+');
    await file.write(Buffer.from([bytes.readUInt8(blockBytes + 5000) ^ 0xff]), 0, 1, blockBytes + 5000);
    expect(await verify()).toMatchObject({ damagedCount: 1, damaged: [`${row?.path}: block 1`] });
  });
});
