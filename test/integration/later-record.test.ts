/**
 * An archive without closing times, as another tool writes it, whose source is not asked: only what the WAL itself says can prove that an early end is
 * the state at the target.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { walPrefix } from '../../src/archive/layout.ts';
import { demoCluster, demoHost } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { type Instant, parseInstant } from '../../src/domain/instant.ts';
import type { RestoreRequest } from '../../src/domain/restore-request.ts';
import { readObject } from '../../src/storage/object-store.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Scene } from './faults/scene.ts';
import { listKeys, openArchive } from './faults/stored-objects.ts';

const objectMaximumBytes = 32 * 1024 * 1024;
/** Of the source's clock: more than the margin, and than the second that a checkpoint's time is rounded down by. */
const secondsBehind = 2;
let scene: Scene;
/** After the last commit and before the checkpoint; and after the checkpoint. */
let target: Instant;
let unprovable: Instant;
let rows: string;

beforeAll(async () => {
  scene = await Scene.open();
  await scene.writeSegments(1);
  rows = await scene.rowsOfSource();
  target = await clock();
  await untilClockIsPast(target);
  await scene.source('CHECKPOINT');
  unprovable = await clock();
  await untilClockIsPast(unprovable);
  await scene.untilArchived(await scene.valueOfSource('SELECT pg_walfile_name(pg_switch_wal())'));
  await stripMetadata();
});
afterAll(async () => scene[Symbol.asyncDispose]());

async function clock(): Promise<Instant> {
  return parseInstant(await scene.valueOfSource('SELECT clock_timestamp()::text'));
}

async function untilClockIsPast(instant: Instant): Promise<void> {
  const sql = `SELECT clock_timestamp() > timestamptz '${instant}' + interval '${secondsBehind} s'`;
  await waitUntil(async () => (await scene.valueOfSource(sql)) === 't', { timeoutMs: 10_000, description: 'the clock goes on' });
}

/** Stores the WAL again as it is, without what the agent has noted with it. */
async function stripMetadata(): Promise<void> {
  await using archive = openArchive(scene.site, demoCluster);
  for (const key of (await listKeys(archive, walPrefix)).keys()) {
    await archive.put(key, (await readObject(archive, key, { maximumBytes: objectMaximumBytes }))!);
    expect((await archive.head(key))?.metadata ?? {}).toEqual({});
  }
}

/** What a plan says of the WAL for such a restore. */
async function walCheckOf(instant: Instant) {
  const place = { host: demoHost, dataDirectory: join(scene.site.directory, 'looked-at'), port: await freePort() };
  const wanted = { cluster: demoCluster, name: 'looked-at', source: 'leave', target: { kind: 'time', time: instant } } as const;
  const plan = await scene.site.client.planRestore({ ...place, ...wanted });
  return plan.checks.find(({ name }) => name === 'wal');
}

async function restoreUnasked(name: string, wanted: Pick<RestoreRequest, 'target'>) {
  const { handle } = await scene.restore({ name, source: 'leave', ...wanted });
  return await handle.result();
}

describe('a restore to an instant after the last commit, from WAL without closing times and without its source', () => {
  it('is promoted when a checkpoint in the replayed WAL is dated after the target, and the report names the checkpoint', async () => {
    const report = await restoreUnasked('by-record', { target: { kind: 'time', time: target } });
    expect(report).toMatchObject({ endReason: 'ended-early-proven-complete', earlyEndDoubt: null, sourceFlushed: false });
    const [, lsn, date] = /^The checkpoint at (\S+) is dated (\S+ \S+) /.exec(report.earlyEndProof ?? '') ?? [];
    const isOfSource = `SELECT checkpoint_lsn = '${lsn}' AND checkpoint_time = '${date}+00' FROM pg_control_checkpoint()`;
    expect(await scene.valueOfSource(isOfSource)).toBe('t');
    expect(await scene.rowsOf(report)).toBe(rows);
  });

  it('is planned with the same proof, or with a warning that there is none', async () => {
    expect(await walCheckOf(target)).toMatchObject({ verdict: 'ok', text: expect.stringMatching(/ The checkpoint at \S+ is dated /) });
    expect(await walCheckOf(unprovable)).toMatchObject({ verdict: 'warning', text: expect.stringContaining('Nothing proves') });
  });

  it('is not promoted to an instant after the last record with a date, though the segment was closed later', async () => {
    await expect(restoreUnasked('unproven', { target: { kind: 'time', time: unprovable } })).rejects.toMatchObject({
      code: 'TARGET_NOT_PROVEN',
      message: expect.stringContaining('the source could not be asked'),
    });
  });
});
