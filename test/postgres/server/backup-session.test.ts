import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseLsn } from '../../../src/domain/lsn.ts';
import { parseWalSegmentName, segmentNumberBefore } from '../../../src/domain/wal-segment.ts';
import { startBackupSession } from '../../../src/postgres/backup-session.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { readServerFacts } from '../../../src/postgres/server-facts.ts';
import { switchWal } from '../../../src/postgres/wal-switch.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';
import { until } from './pitr-scene.ts';

const installations = await availableInstallations();

describe.each(installations)('PostgreSQL $version', (installation) => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await createTestCluster({ installation, name: 'backup', settings: { archive_timeout: 77, archive_command: 'x y' } });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it('readServerFacts says what the server is when it is asked', async () => {
    await using connection = await connectServer(cluster.connectOptions);
    expect(await readServerFacts(connection)).toMatchObject({
      dataDirectory: cluster.dataDirectory,
      timeline: 1,
      walSegmentBytes: 16 * 1024 * 1024,
      archiveMode: 'off',
      archiveCommand: expect.any(String),
      archiveTimeoutSeconds: 77,
      walLevel: 'replica',
      inRecovery: false,
      systemIdentifier: expect.stringMatching(/^\d{15,20}$/),
      now: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    });
  });

  it('startBackupSession gives label and positions when the backup is stopped', async () => {
    await using session = await startBackupSession(cluster.connectOptions, { label: "it's base_x", fast: true });
    const stopped = await session.stop();
    expect(stopped.labelFile).toContain(`START WAL LOCATION: ${session.startLsn} (file ${session.startSegment})`);
    expect(stopped.labelFile).toContain("LABEL: it's base_x\n");
    expect(stopped.tablespaceMap).toBe('');
    expect(parseLsn(stopped.finishLsn) > parseLsn(session.startLsn)).toBe(true);
    expect(stopped.finishTime > session.startTime).toBe(true);
    expect(session.timeline).toBe(1);
  });

  it('startBackupSession leaves the server without a backup when it is closed or aborted before the stop', async () => {
    const sessions = async () =>
      (await cluster.query<{ n: number }>(`SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'doomed'`))[0]?.n;
    const controller = new AbortController();
    const doomed = { ...cluster.connectOptions, applicationName: 'doomed', signal: controller.signal };
    const session = await startBackupSession(doomed, { label: 'x', fast: true });
    expect(await sessions()).toBe(1);
    controller.abort(new Error('cancelled'));
    await expect(session.stop()).rejects.toThrow('cancelled');
    await until(async () => (await sessions()) === 0);
    await session.close();
    await session.close();
  });

  it('startBackupSession fails with BACKUP_FAILED when the server ends the session', async () => {
    await using session = await startBackupSession({ ...cluster.connectOptions, applicationName: 'killed' }, { label: 'x', fast: true });
    await cluster.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'killed'`);
    await expect(session.stop()).rejects.toMatchObject({ code: 'BACKUP_FAILED', retryable: true });
  });

  it('switchWal names the segment that holds everything before when there was something to switch, and again when not', async () => {
    await using connection = await connectServer(cluster.connectOptions);
    await connection.query('CREATE TABLE IF NOT EXISTS t (a int)');
    const first = await switchWal(connection);
    const idle = await switchWal(connection);
    expect(idle.segment).toBe(first.segment);
    expect(idle.switchedAt > first.switchedAt).toBe(true);
    expect(parseWalSegmentName(first.segment)).toEqual({ timeline: 1, number: segmentNumberBefore(parseLsn(first.lsn)) });
    const anchored = await switchWal(connection, { anchor: true });
    expect(anchored.segment > first.segment).toBe(true);
  });
});
