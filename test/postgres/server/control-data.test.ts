import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { crc32c } from '../../../src/postgres/crc32c.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();

describe('crc32c', () => {
  it('crc32c gives the check value of RFC 3720 when the input is 123456789', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283);
  });
});

describe.each(installations)('readControlData on PostgreSQL $version', (installation) => {
  let cluster: TestCluster;
  let copy: string;
  beforeAll(async () => {
    cluster = await createTestCluster({
      installation,
      name: 'control',
      settings: {
        max_connections: 57,
        max_worker_processes: 9,
        max_wal_senders: 7,
        max_prepared_transactions: 3,
        max_locks_per_transaction: 65,
        track_commit_timestamp: 'on',
        wal_level: 'logical',
      },
    });
    copy = await mkdtemp(join(tmpdir(), 'wb-control-'));
    await mkdir(join(copy, 'global'));
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    await rm(copy, { recursive: true, force: true });
  });

  it('readControlData says what the server says when it runs', async () => {
    await cluster.query('CHECKPOINT');
    const [row] = await cluster.query<Record<string, unknown>>(`
      SELECT s.pg_control_version AS "pgControlVersion", s.catalog_version_no AS "catalogVersion", s.system_identifier::text AS "systemIdentifier",
        c.checkpoint_lsn::text AS "checkpointLsn", c.redo_lsn::text AS "redoLsn", c.timeline_id AS timeline, c.prev_timeline_id AS "previousTimeline",
        to_char(c.checkpoint_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "checkpointTime",
        i.database_block_size AS "blockBytes", i.bytes_per_wal_segment AS "walSegmentBytes", i.data_page_checksum_version AS "dataChecksumVersion"
      FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_init() i`);
    expect(await readControlData(cluster.dataDirectory)).toMatchObject({
      ...row,
      state: 'in production',
      walLevel: 'logical',
      maxConnections: 57,
      maxWorkerProcesses: 9,
      maxWalSenders: 7,
      maxPreparedTransactions: 3,
      maxLocksPerTransaction: 65,
      trackCommitTimestamp: true,
      minRecoveryPoint: undefined,
      backupStartPoint: undefined,
      backupEndRequired: false,
    });
  });

  it('readControlData reads true bytes when the server writes them at the same time', async () => {
    const writing = (async () => {
      for (let count = 0; count < 20; count += 1) await cluster.query('CHECKPOINT');
    })();
    for (let count = 0; count < 200; count += 1) await readControlData(cluster.dataDirectory);
    await writing;
  });

  it('readControlData refuses the file when any byte under the checksum is changed', async () => {
    const target = join(copy, 'global', 'pg_control');
    await copyFile(join(cluster.dataDirectory, 'global', 'pg_control'), target);
    const good = await readFile(target);
    for (const offset of [0, 17, 40, 136, 180, 252, 287]) {
      const bad = Buffer.from(good);
      bad.writeUInt8(bad.readUInt8(offset) ^ 1, offset);
      await writeFile(target, bad);
      await expect(readControlData(copy)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_DAMAGED' });
    }
    await writeFile(target, good.subarray(0, 100));
    await expect(readControlData(copy)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_DAMAGED' });
  });
});

describe('readControlData', () => {
  it('readControlData names the version when it is not known', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'wb-control-'));
    await mkdir(join(directory, 'global'));
    const bytes = Buffer.alloc(8192);
    bytes.writeUInt32LE(1201, 8);
    await writeFile(join(directory, 'global', 'pg_control'), bytes);
    await expect(readControlData(directory)).rejects.toThrow(/pg_control_version 1201/);
    await rm(directory, { recursive: true });
    await expect(readControlData(directory)).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });
});
