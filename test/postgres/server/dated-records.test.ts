/** Where PostgreSQL itself puts the dates that prove an early end to be complete: pg_control and its clock tell what they have to be. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { datedRecords, type PlacedDate } from '../../../src/archive/dated-records.ts';
import { type Instant, microsecondsOf, parseInstant } from '../../../src/domain/instant.ts';
import { parseLsn } from '../../../src/domain/lsn.ts';
import { segmentNumberAt, walSegmentName } from '../../../src/domain/wal-segment.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';

const installations = await availableInstallations();

describe.each(installations)('datedRecords on PostgreSQL $version', (installation) => {
  it('finds the server’s checkpoints, restore points and ends of recovery with their dates', async () => {
    await using cluster = await createTestCluster({ installation, name: 'dated-records' });
    await cluster.query('CHECKPOINT');
    const online = await readControlData(cluster.dataDirectory);
    const [point] = await cluster.query<{ lsn: string; before: string; after: string }>(
      `SELECT clock_timestamp()::text AS before, pg_create_restore_point('here')::text AS lsn, clock_timestamp()::text AS after`,
    );
    await cluster.stop();
    const stopped = await readControlData(cluster.dataDirectory);
    const dates = await datesIn(cluster, 1);
    expect(dates).toContainEqual({ kind: 'checkpoint', lsn: online.checkpointLsn, time: online.checkpointTime, timeline: 1 });
    const named = dates.find(({ kind }) => kind === 'restore-point');
    expect(named?.timeline).toBe(1);
    expectWithin(named?.time, [point!.before, point!.after]);
    const shutdown = { kind: 'shutdown', lsn: stopped.checkpointLsn, time: stopped.checkpointTime, timeline: 1 };
    expect(dates.at(-1)).toEqual(shutdown);

    await writeFile(join(cluster.dataDirectory, 'standby.signal'), '');
    await cluster.start();
    const before = await clockOf(cluster);
    await cluster.query('SELECT pg_promote()');
    await waitUntil(async () => (await cluster.query<{ r: boolean }>('SELECT pg_is_in_recovery() AS r'))[0]?.r === false, {
      timeoutMs: 30_000,
      description: 'the promotion',
    });
    const after = await clockOf(cluster);
    const inPromoted = await datesIn(cluster, 2);
    const promoted = inPromoted.find(({ kind }) => kind === 'end-of-recovery');
    expect(promoted?.timeline).toBe(2);
    expectWithin(promoted?.time, [before, after]);
    // The new timeline's first segment begins as a copy of the old one's, whose records are still those of the old one.
    expect(inPromoted).toContainEqual(shutdown);
  });
});

/** All dates in the segment of the last checkpoint. */
async function datesIn(cluster: TestCluster, timeline: number): Promise<PlacedDate[]> {
  const { checkpointLsn, walSegmentBytes } = await readControlData(cluster.dataDirectory);
  const number = segmentNumberAt(parseLsn(checkpointLsn), walSegmentBytes);
  const name = walSegmentName({ timeline, number }, walSegmentBytes);
  return datedRecords(await readFile(join(cluster.dataDirectory, 'pg_wal', name)));
}

async function clockOf(cluster: TestCluster): Promise<string> {
  const [row] = await cluster.query<{ now: string }>('SELECT clock_timestamp()::text AS now');
  return row!.now;
}

function expectWithin(time: Instant | undefined, [from, to]: readonly [string, string]): void {
  const at = microsecondsOf(time ?? parseInstant('1970-01-01T00:00:00Z'));
  expect(at >= microsecondsOf(parseInstant(from)) && at <= microsecondsOf(parseInstant(to))).toBe(true);
}
