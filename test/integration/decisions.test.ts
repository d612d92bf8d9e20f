/** A restore that waits for a person: paused at its target, or asking after an early end. Every decision, checked and remembered. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RestoreHandle } from '../../src/client/handles.ts';
import { demoCluster } from '../../src/demo/demo-site.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Scene, stepOf, untilPhase } from './faults/scene.ts';

describe('a restore that waits for a decision', () => {
  let scene: Scene;

  beforeAll(async () => {
    scene = await Scene.open();
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });

  it('A18: goes on from a restore point to a later position and a later instant on the same directory, never back, and tells all of it', async () => {
    const point = await scene.site.client.createRestorePoint({ cluster: demoCluster, name: 'before the rows' });
    const atPoint = await scene.rowsOfSource();
    await scene.writeSegments(1);
    const lsn = await scene.valueOfSource('SELECT pg_current_wal_lsn()');
    const atLsn = await scene.rowsOfSource();
    const later = await scene.noteTarget();
    await expect(scene.site.client.createRestorePoint({ cluster: demoCluster, name: point.name })).rejects.toMatchObject({
      code: 'NAME_IN_USE',
    });

    const { handle, request } = await scene.restore({ name: 'advancing', target: { kind: 'name', name: point.name }, atTarget: 'pause' });
    await expect(handle.promote()).rejects.toMatchObject({ code: 'NOT_PAUSED' });
    await untilPhase(handle, 'paused-at-target');
    expect(await rowsWhilePaused(scene, request)).toBe(atPoint);

    await handle.advance({ target: { kind: 'lsn', lsn }, reason: 'a little further' });
    await expect(handle.advance({ target: { kind: 'lsn', lsn } })).rejects.toMatchObject({ code: 'NOT_PAUSED' });
    await untilPaused(handle, 2);
    expect(await rowsWhilePaused(scene, request)).toBe(atLsn);
    await expect(handle.advance({ target: { kind: 'lsn', lsn } })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      hint: expect.stringContaining('needs a new restore'),
    });
    await expect(handle.retry()).rejects.toMatchObject({ code: 'NOT_PAUSED' });
    await expect(handle.abort({ reason: ' ' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });

    await handle.advance({ target: { kind: 'time', time: later.time } });
    await untilPaused(handle, 3);
    await handle.promote({ reason: 'this is it' });
    const report = await handle.result();
    expect(await scene.rowsOf(report)).toBe(later.rows);
    expect(report).toMatchObject({ endReason: 'target-reached', requestedTarget: { kind: 'time', time: later.time } });
    expect(report.decisions.map(({ decision, reason }) => [decision, reason])).toEqual([
      ['advance', 'a little further'],
      ['advance', null],
      ['promote', 'this is it'],
    ]);
    expect(report.steps.filter((step) => step.name === 'fetch-base-backup')).toHaveLength(1);
  });

  it('is aborted with a reason, or by its deadline, and leaves nothing running', async () => {
    const target = await scene.noteTarget();
    const aborted = await scene.restore({ name: 'aborted', target: { kind: 'time', time: target.time }, atTarget: 'pause' });
    await untilPhase(aborted.handle, 'paused-at-target');
    await aborted.handle.abort({ reason: 'the wrong instant' });
    await expect(aborted.handle.result()).rejects.toMatchObject({ code: 'ABORTED', message: expect.stringContaining('the wrong instant') });
    expect((await serverState(aborted.request.dataDirectory)).running).toBe(false);
    await expect(aborted.handle.promote()).rejects.toMatchObject({ code: 'NOT_PAUSED' });

    const late = await scene.restore({
      name: 'too-late',
      target: { kind: 'immediate' },
      atTarget: 'pause',
      decisionWithinMinutes: 0.02,
    });
    await expect(late.handle.result()).rejects.toMatchObject({
      code: 'ABORTED',
      message: expect.stringContaining('Nobody decided within'),
    });
  });

  it('A2: asks after an early end, tries again when told to, and takes the end of the WAL only with the doubt in its report', async () => {
    // No such transaction will ever be met, whatever is archived.
    const target = { kind: 'xid', xid: '2000000000' } as const;
    const asking = await scene.restore({ name: 'asking', target, onEarlyEnd: 'ask' });
    await untilPhase(asking.handle, 'awaiting-decision');
    const { summary, waitingFor } = await asking.handle.progress();
    expect(summary).toContain('neither commits nor aborts');
    expect(waitingFor).toContain('retry');
    await asking.handle.retry({ reason: 'perhaps there is more' });
    await untilPhase(asking.handle, 'awaiting-decision');
    await asking.handle.promote();
    const report = await asking.handle.result();
    expect(report).toMatchObject({ endReason: 'ended-early-not-proven', stop: null, earlyEndProof: null });
    expect(report.earlyEndDoubt).toContain('it was decided to');
    expect(await scene.rowsOf(report)).toBe(await scene.rowsOfSource());
    expect(stepOf(report, 'drop-target')).toBeDefined();

    const promoting = await scene.restore({ name: 'promoting', target, onEarlyEnd: 'promote' });
    expect(await promoting.handle.result()).toMatchObject({ endReason: 'ended-early-not-proven' });
    const failing = await scene.restore({ name: 'failing', target });
    await expect(failing.handle.result()).rejects.toMatchObject({ code: 'TARGET_NOT_PROVEN' });
  });

  it('waits for a person when its host is gone, says so, and goes on with the step when told to retry', async () => {
    const target = await scene.noteTarget();
    const { handle } = await scene.restore({
      name: 'host-away',
      target: { kind: 'time', time: target.time },
      atTarget: 'pause',
      hostReturnsWithinMinutes: 0.02,
    });
    await untilPhase(handle, 'paused-at-target');
    await scene.stop('agent');
    await handle.promote();
    await untilPhase(handle, 'host-gone');
    const { summary, waitingFor } = await handle.progress();
    expect(summary).toContain('No agent on demo-host took the step promote');
    expect(waitingFor).toContain('abort');
    await expect(handle.promote()).rejects.toMatchObject({ code: 'NOT_PAUSED', message: expect.stringContaining('retry, abort') });
    await scene.start('agent');
    await handle.retry({ reason: 'the host is back' });
    const report = await handle.result();
    expect(await scene.rowsOf(report)).toBe(target.rows);
    expect(report.decisions.map(({ decision }) => decision)).toEqual(['promote', 'retry']);
  });

  it('refuses a position that the source has not written, before anything is made', async () => {
    const { handle, request } = await scene.restore({ name: 'ahead', target: { kind: 'lsn', lsn: 'FF/0' } });
    await expect(handle.result()).rejects.toMatchObject({ code: 'TARGET_IN_FUTURE', facts: { target: 'FF/0' } });
    expect((await serverState(request.dataDirectory)).running).toBe(false);
    const early = await scene.restore({ name: 'early', target: { kind: 'lsn', lsn: '0/1000000' } });
    await expect(early.handle.result()).rejects.toMatchObject({ code: 'NO_BACKUP_BEFORE_TARGET' });
    const nowhere = await scene.restore({
      name: 'nowhere',
      target: { kind: 'time', time: parseInstant('2020-01-01T00:00:00Z') },
      timeline: 9,
    });
    await expect(nowhere.handle.result()).rejects.toMatchObject({ code: 'TARGET_UNREACHABLE' });
  });
});

/** A paused restore answers on its private socket only, to its superuser. */
async function rowsWhilePaused(scene: Scene, { dataDirectory, port }: { dataDirectory: string; port: number }): Promise<string> {
  const [, , , , socketDirectory = ''] = (await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8')).split('\n');
  return await scene.rowsAt({ socketDirectory, port });
}

/** Waits for a pause after so many starts of PostgreSQL. */
async function untilPaused(handle: RestoreHandle, startCount: number): Promise<void> {
  await waitUntil(
    async () => {
      const { phase, steps } = await handle.progress();
      return phase === 'paused-at-target' && steps.filter((step) => step.name === 'await-recovery').length === startCount;
    },
    { timeoutMs: 60_000, description: `the restore is paused after ${startCount} starts` },
  );
}
