/** Decisions for a restore without Temporal come over the agent's socket, by the same words; and its first base backup is taken without Temporal too. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sentinelKey } from '../../src/archive/layout.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { documentOf, errorCodeOf, runCli, startCli } from './cli/run-cli.ts';
import { DirectScene, reportOf } from './direct-scene.ts';
import { expectAbandoned } from './faults/left-behind.ts';
import type { Scene } from './faults/scene.ts';
import { listKeys, openArchive } from './faults/stored-objects.ts';

let direct: DirectScene;
let scene: Scene;
let first: Awaited<ReturnType<Scene['noteTarget']>>;
let second: Awaited<ReturnType<Scene['noteTarget']>>;

beforeAll(async () => {
  direct = await DirectScene.open(async (opened) => {
    await opened.writeSegments(1);
    first = await opened.noteTarget();
    await opened.writeSegments(2);
    second = await opened.noteTarget();
  });
  ({ scene } = direct);
});
afterEach(() => scene.store.end());
afterAll(async () => direct?.[Symbol.asyncDispose]());

/** A paused restore answers on its private socket only, to its superuser. */
async function rowsWhilePaused(name: string): Promise<string> {
  const [, , , port = '', socketDirectory = ''] = (await readFile(join(direct.directoryOf(name), 'postmaster.pid'), 'utf8')).split('\n');
  return await scene.rowsAt({ socketDirectory, port: Number(port) });
}

describe('a restore without Temporal that waits for a decision', () => {
  it('goes on from its pause to a later instant, and is promoted, also when its agent was killed and its command is gone', async () => {
    const name = 'paused';
    const command = startCli(scene.site, await direct.argumentsOf(name, first.time, ['--at-target', 'pause']));
    const status = await direct.untilWaiting(name, 1);
    expect(status).toMatchObject({
      status: 'running',
      phase: 'paused-at-target',
      waitingFor: expect.stringContaining('advance') as string,
    });
    expect(await rowsWhilePaused(name)).toBe(first.rows);
    command.kill('SIGKILL');
    await command;
    await direct.endAgent('SIGKILL');
    await direct.startAgent();

    const earlier = await runCli(scene.site, ['advance', direct.idOf(name), '--to', first.time, '--no-wait', '--json']);
    expect(errorCodeOf(earlier)).toBe('INVALID_REQUEST');
    const later = ['advance', direct.idOf(name), '--to', second.time, '--reason', 'a little further', '--no-wait', '--json'];
    expect(documentOf(await runCli(scene.site, later))).toMatchObject({ ok: true, workflowId: direct.idOf(name) });
    await direct.untilWaiting(name, 2);
    expect(await rowsWhilePaused(name)).toBe(second.rows);
    // A decision that was taken lies in the journal, whoever dies then.
    await direct.endAgent('SIGKILL');
    await direct.startAgent();
    const promoted = await runCli(scene.site, ['promote', direct.idOf(name), '--reason', 'this is it', '--json']);
    const report = reportOf(promoted);
    expect(await scene.rowsOf(report)).toBe(second.rows);
    expect(report).toMatchObject({ endReason: 'target-reached', restoreId: direct.idOf(name) });
    expect(report.decisions.map(({ decision, reason }) => [decision, reason])).toEqual([
      ['advance', 'a little further'],
      ['promote', 'this is it'],
    ]);
    expect(report.steps.filter((step) => step.name === 'fetch-base-backup')).toHaveLength(1);
    expect(errorCodeOf(await runCli(scene.site, ['promote', direct.idOf(name), '--json']))).toBe('NOT_PAUSED');
    expect(await direct.statusOf(name)).toMatchObject({ status: 'completed', phase: 'done' });
  });

  it.each([
    ['aborted', ['abort', '--reason', 'the wrong instant'], 'ABORTED', 'the wrong instant'],
    ['cancelled', ['cancel'], 'CANCELLED', 'cancelled'],
  ] as const)('is %s by its id, and its directory is kept', async (name, [verb, ...options], code, words) => {
    const command = startCli(scene.site, await direct.argumentsOf(name, first.time, ['--at-target', 'pause']));
    await direct.untilWaiting(name, 1);
    expect((await runCli(scene.site, [verb, direct.idOf(name), ...options, '--json'])).exitCode).toBe(0);
    const outcome = await command;
    expect(errorCodeOf(outcome)).toBe(code);
    expect(outcome.stdout).toContain(words);
    await expectAbandoned(scene.site, direct.directoryOf(name));
  });

  it('is aborted when nobody decides within its deadline', async () => {
    const waiting = ['--at-target', 'pause', '--decide-within', '0.02'];
    const outcome = await runCli(scene.site, await direct.argumentsOf('too-late', first.time, waiting));
    expect(errorCodeOf(outcome)).toBe('ABORTED');
    expect(outcome.stdout).toContain('Nobody decided within');
    await expectAbandoned(scene.site, direct.directoryOf('too-late'));
  });

  it('asks after an early end, tries again when told to, and takes the end of the WAL with the doubt in its report', async () => {
    const name = 'asking';
    // No such transaction will ever be met, whatever is archived.
    const command = startCli(scene.site, await direct.argumentsOf(name, 'xid:2000000000', ['--on-early-end', 'ask']));
    expect(await direct.untilWaiting(name, 1)).toMatchObject({ phase: 'awaiting-decision' });
    expect((await runCli(scene.site, ['retry', direct.idOf(name), '--no-wait', '--json'])).exitCode).toBe(0);
    await direct.untilWaiting(name, 2);
    const [promoted, outcome] = await Promise.all([runCli(scene.site, ['promote', direct.idOf(name), '--json']), command]);
    const report = reportOf(outcome);
    expect(reportOf(promoted)).toEqual(report);
    expect(report).toMatchObject({
      endReason: 'ended-early-not-proven',
      earlyEndDoubt: expect.stringContaining('it was decided to') as string,
    });
    expect(await scene.rowsOf(report)).toBe(await scene.rowsOfSource());
  });

  it('no agent knows of a restore that was never begun', async () => {
    for (const verb of ['promote', 'status', 'cancel'])
      expect(errorCodeOf(await runCli(scene.site, [verb, direct.idOf('nobody'), '--json']))).toBe('NOT_FOUND');
  });
});

describe('a restore without Temporal that is protected', () => {
  it('has its first base backup in its archive and its report, also when the agent is killed while it is taken', async () => {
    const name = 'protected';
    const gate = scene.store.hold('PutObject', `${name}/basebackups_005/`);
    const command = startCli(scene.site, await direct.argumentsOf(name, first.time, ['--protect']));
    await waitUntil(() => gate.arrived.length > 0, { timeoutMs: 60_000, description: 'a part of the base backup is on its way' });
    await direct.endAgent('SIGKILL');
    gate.open();
    scene.store.end();
    await direct.startAgent();
    const report = reportOf(await command);
    expect(report.protection).toEqual({ backup: expect.stringMatching(/^base_00000002/) as string, failure: null });
    expect(report.steps.map(({ name: step }) => step)).toEqual(expect.arrayContaining(['open-to-clients', 'report', 'protect']));
    await using archive = openArchive(scene.site, name);
    const backup = report.protection?.backup ?? '';
    expect((await listKeys(archive, sentinelKey(backup))).size).toBe(1);
    expect(await scene.rowsOf(report)).toBe(first.rows);
  });
});
