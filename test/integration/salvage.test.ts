/**
 * `source: 'salvage'`: the source was killed with WAL that is not archived. What its directory holds is brought into the archive, and the restore
 * ends with the very last commit that the source flushed.
 */
import { rename } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { walKey } from '../../src/archive/layout.ts';
import { demoAdmin, demoCluster } from '../../src/demo/demo-site.ts';
import { type Instant, parseInstant } from '../../src/domain/instant.ts';
import { startServer } from '../../src/postgres/process-control.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { killProcess, markedProcesses } from '../harness/processes.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Scene, untilServer } from './faults/scene.ts';
import { listKeys, openArchive } from './faults/stored-objects.ts';

const startTimeoutMs = 60_000;
let scene: Scene;
/** Closed segments; the first was never archived, the others were. */
let segments: string[];
/** Of the source when it was killed. */
let rows: string;
let last: { readonly xid: string; readonly segment: string };
let deadSince: Instant;

beforeAll(async () => {
  scene = await Scene.open();
});
afterAll(async () => scene[Symbol.asyncDispose]());

async function isArchived(name: string): Promise<boolean> {
  await using archive = openArchive(scene.site, demoCluster);
  return (await listKeys(archive, '')).has(walKey(name, 'zst'));
}

/** The first of three segments cannot be stored, so the archive has a hole; three commits more are in no closed segment; then kill -9. */
async function killSource(): Promise<void> {
  await scene.writeRowAfterTarget();
  const next = await scene.valueOfSource('SELECT pg_walfile_name(pg_current_wal_lsn())');
  scene.store.fail('PutObject', next, { kind: 'error', code: 'SlowDown' });
  segments = await scene.writeSegments(3);
  expect(segments[0]).toBe(next);
  await waitUntil(() => isArchived(segments[2]!), { description: `${segments[2]} is archived ahead` });
  for (const n of [101, 102, 103]) await scene.source(`INSERT INTO events VALUES (${n}, 'in no closed segment')`);
  rows = await scene.rowsOfSource();
  const xid = await scene.valueOfSource('SELECT xmin FROM events WHERE n = 103');
  last = { xid, segment: await scene.valueOfSource('SELECT pg_walfile_name(pg_current_wal_lsn())') };
  const { pid } = await untilServer(scene.site.source.dataDirectory);
  process.kill(pid, 'SIGKILL');
  await waitUntil(async () => !(await serverState(scene.site.source.dataDirectory)).running, { description: 'the source is dead' });
  deadSince = parseInstant(new Date().toISOString());
  // The agent, and what the dead server has started, would go on to store what was asked for.
  await scene.kill('agent');
  const mark = { variable: 'WALKBACK_NO_SUCH_VARIABLE=1', directory: scene.site.source.dataDirectory };
  for (const { pid: left } of markedProcesses(mark, new Set())) killProcess(left);
  await waitUntil(() => markedProcesses(mark, new Set()).length === 0, { description: 'what the source started is gone' });
  scene.store.end();
  expect(await isArchived(segments[0]!)).toBe(false);
  await scene.start('agent');
}

async function startSource(): Promise<void> {
  const { binDirectory } = scene.site.installation;
  const { dataDirectory } = scene.site.source;
  const logFile = `${scene.site.directory}/again.log`;
  await startServer({ binDirectory, dataDirectory, logFile, timeoutMs: startTimeoutMs, until: 'accepting' });
}

describe('a source that runs', () => {
  it('is not salvaged, and nothing is made', async () => {
    const { handle } = await scene.restore({ name: 'too-early', target: { kind: 'latest' }, source: 'salvage' });
    await expect(handle.result()).rejects.toMatchObject({ code: 'SOURCE_RUNNING', message: expect.stringContaining('runs on') });
  });
});

describe('a source that was killed with WAL in no archive', () => {
  it('comes back to the latest with every row, although the archive had a hole and its end was in no closed segment', async () => {
    await killSource();
    const { handle } = await scene.restore({ name: 'salvaged', target: { kind: 'latest' }, source: 'salvage' });
    const report = await handle.result();
    expect(report).toMatchObject({
      endReason: 'end-of-wal',
      salvage: { segments: 1, partial: last.segment, lastCommit: { xid: last.xid } },
    });
    expect(report.lastCommitKept?.time).toContain(report.salvage?.lastCommit?.time.slice(11, 23));
    expect(await scene.rowsOf(report)).toBe(rows);
    expect(await isArchived(`${last.segment}.partial`)).toBe(true);
  });

  it('comes back to an instant after its death, which proves that nothing was committed up to it', async () => {
    const target = { kind: 'time', time: deadSince } as const;
    const { handle } = await scene.restore({ name: 'after-death', target, source: 'salvage' });
    const report = await handle.result();
    expect(report).toMatchObject({ endReason: 'ended-early-proven-complete', salvage: { segments: 0, partial: last.segment } });
    expect(report.earlyEndProof).toContain('The source was found dead at');
    expect(await scene.rowsOf(report)).toBe(rows);
  });

  it('comes back with every row once more, after it was started again and died again in the same segment', async () => {
    const { dataDirectory } = scene.site.source;
    await startSource();
    await scene.source(`INSERT INTO events VALUES (201, 'of a second life')`);
    expect(await scene.valueOfSource('SELECT pg_walfile_name(pg_current_wal_lsn())')).toBe(last.segment);
    const again = { rows: await scene.rowsOfSource(), xid: await scene.valueOfSource('SELECT xmin FROM events WHERE n = 201') };
    process.kill((await untilServer(dataDirectory)).pid, 'SIGKILL');
    await waitUntil(async () => !(await serverState(dataDirectory)).running, { description: 'the source is dead again' });
    const { handle } = await scene.restore({ name: 'salvaged-again', target: { kind: 'latest' }, source: 'salvage' });
    const report = await handle.result();
    expect(report).toMatchObject({ endReason: 'end-of-wal', salvage: { partial: last.segment, lastCommit: { xid: again.xid } } });
    expect(await scene.rowsOf(report)).toBe(again.rows);
    expect(again.rows).not.toBe(rows);
    ({ rows } = again);
    await using archive = openArchive(scene.site, demoCluster);
    expect((await listKeys(archive, `walkback_001/superseded/${last.segment}.partial.`)).size).toBe(1);
  });

  it('can be started again, and archives on', async () => {
    await startSource();
    const [closed] = await scene.writeSegments(1);
    expect(closed).toBe(last.segment);
    await scene.untilArchived(closed!);
    expect(await scene.rowsOfSource()).not.toBe(rows);
  });
});

describe('a data directory that holds another cluster', () => {
  it('is not salvaged', async () => {
    const { dataDirectory } = scene.site.source;
    const { pid } = await untilServer(dataDirectory);
    process.kill(pid, 'SIGKILL');
    await waitUntil(async () => !(await serverState(dataDirectory)).running, { description: 'the source is dead' });
    await rename(dataDirectory, `${dataDirectory}-away`);
    await execa(`${scene.site.installation.binDirectory}/initdb`, ['-D', dataDirectory, '-U', demoAdmin, '-N', '--locale=C']);
    const { handle } = await scene.restore({ name: 'of-another', target: { kind: 'latest' }, source: 'salvage' });
    await expect(handle.result()).rejects.toMatchObject({
      code: 'WAL_REFUSED',
      message: expect.stringMatching(/system identifier is \d+, and that of the base backup \d+/),
    });
  });
});
