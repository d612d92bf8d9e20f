/** `walkback restore --direct`: there is no Temporal any more, and the agent restores by itself. Same story, same report, and it goes on after kill -9. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PlanReport } from '../../src/client/index.ts';
import { demoCluster } from '../../src/demo/demo-site.ts';
import { readMarker } from '../../src/postgres/restore-marker.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { documentOf, errorCodeOf, runCli, startCli } from './cli/run-cli.ts';
import { DirectScene, reportOf } from './direct-scene.ts';
import { expectAbandoned } from './faults/left-behind.ts';
import { type Scene, untilReplayed } from './faults/scene.ts';

let direct: DirectScene;
let scene: Scene;
let segments: string[];
let target: Awaited<ReturnType<Scene['noteTarget']>>;

beforeAll(async () => {
  direct = await DirectScene.open(async (opened) => {
    segments = await opened.writeSegments(6);
    target = await opened.noteTarget();
  });
  ({ scene } = direct);
});
afterEach(() => scene.store.end());
afterAll(async () => direct?.[Symbol.asyncDispose]());

async function argumentsOf(name: string, more: readonly string[] = []): Promise<string[]> {
  return await direct.argumentsOf(name, target.time, more);
}

describe('a restore without Temporal', () => {
  it('lands with every row, and says so in the same report', async () => {
    const commandLine = await argumentsOf('direct', ['--check', 'SELECT 1 = 1']);
    const [outcome, other] = await Promise.all([runCli(scene.site, commandLine), runCli(scene.site, commandLine)]);
    expect([outcome, other]).toMatchObject([{ exitCode: 0 }, { exitCode: 0 }]);
    const report = reportOf(outcome);
    expect(report).toMatchObject({ endReason: 'target-reached', timeline: 2, sourceFlushed: true, checks: [{ ok: true }] });
    expect(await scene.rowsOf(report)).toBe(target.rows);
    // Given twice at once, it is one restore.
    expect(reportOf(other)).toEqual(report);
    expect(outcome.stderr).toMatch(/fetch-base-backup: [\d.]+ s/);
    expect(await readMarker(report.dataDirectory)).toMatchObject({ phase: 'open', restoreId: report.restoreId });
  });

  it('tells its plan with --plan, and does nothing', async () => {
    const commandLine = await argumentsOf('direct-planned', ['--plan']);
    const outcome = await runCli(scene.site, commandLine);
    expect(outcome.exitCode).toBe(0);
    const { plan } = documentOf(outcome) as { plan: PlanReport };
    expect(plan).toMatchObject({ isPossible: true, host: 'demo-host', wal: { ranges: [{ timeline: 1 }] } });
    expect(plan.checks.map(({ name }) => name)).toEqual(expect.arrayContaining(['archive', 'base-backup', 'wal', 'port', 'disk']));
    // The restore before this one tells how fast this host replays.
    expect(plan.estimate?.rates.replay.restores).toBeGreaterThan(0);
    expect(existsSync(direct.directoryOf('direct-planned'))).toBe(false);
    const tooEarly = await runCli(scene.site, await direct.argumentsOf('direct-planned', '2020-01-01T00:00:00Z', ['--plan']));
    expect(errorCodeOf(tooEarly)).toBe('NO_BACKUP_BEFORE_TARGET');
  });

  it('takes the proven end of the WAL of an idle source', async () => {
    const [, , , , ...place] = await argumentsOf('direct-idle');
    const rows = await scene.rowsOfSource();
    const report = reportOf(await runCli(scene.site, ['restore', demoCluster, '--to', 'now', ...place]));
    expect(report).toMatchObject({ endReason: 'ended-early-proven-complete' });
    expect(await scene.rowsOf(report)).toBe(rows);
  });

  it('goes on with the same command after kill -9 of the agent, and does nothing twice', async () => {
    const gate = scene.store.hold('GetObject', segments[3]!);
    const commandLine = await argumentsOf('direct-killed');
    const dataDirectory = join(scene.site.directory, 'direct-killed');
    const interrupted = startCli(scene.site, commandLine);
    await untilReplayed(dataDirectory, segments[2]!);
    const fetched = scene.store.countByKey('GetObject', 'tar_partitions');
    await direct.endAgent('SIGKILL');
    interrupted.kill('SIGKILL');
    await interrupted;
    gate.open();
    scene.store.end();
    await direct.startAgent();
    const outcome = await runCli(scene.site, commandLine);
    expect(outcome).toMatchObject({ exitCode: 0 });
    expect(await scene.rowsOf(reportOf(outcome))).toBe(target.rows);
    expect(scene.store.countByKey('GetObject', 'tar_partitions')).toEqual(fetched);
  });

  it('ends as a cancelled one does when the command is interrupted: nothing runs, and the directory is kept', async () => {
    const gate = scene.store.hold('GetObject', segments[3]!);
    const commandLine = await argumentsOf('direct-cancelled');
    const dataDirectory = join(scene.site.directory, 'direct-cancelled');
    const command = startCli(scene.site, commandLine);
    await untilReplayed(dataDirectory, segments[2]!);
    await waitUntil(async () => (await serverState(dataDirectory)).running, { description: 'the server runs' });
    command.kill('SIGINT');
    // The process that replays waits for its file until it is told to end.
    gate.open();
    const outcome = await command;
    expect(outcome.exitCode).not.toBe(0);
    expect(errorCodeOf(outcome)).toBe('CANCELLED');
    await expectAbandoned(scene.site, dataDirectory);
  });
});

describe('a restore without Temporal refuses before work', () => {
  it.each([
    [['--host', 'elsewhere'], 'INVALID_REQUEST', 'Run the command on elsewhere'],
    [['--no-wait'], 'INVALID_REQUEST', '--no-wait'],
  ])('%j', async (more, code, words) => {
    const outcome = await runCli(scene.site, await argumentsOf('direct-refused', more));
    expect(errorCodeOf(outcome)).toBe(code);
    expect(outcome.stderr).toContain(words);
  });

  it('without an agent, and says what to do', async () => {
    const environment = { ...scene.site.environment, WALKBACK_HOST_SOCKET: join(scene.site.directory, 'nobody.sock') };
    const outcome = await runCli({ ...scene.site, environment }, await argumentsOf('direct-alone'));
    expect(errorCodeOf(outcome)).toBe('AGENT_UNREACHABLE');
  });
});
