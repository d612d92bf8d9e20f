/** A server that is killed while it leaves recovery, at each instant that counts: it lands on its target all the same. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Instant, parseInstant } from '../../../src/domain/instant.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { readControlData } from '../../../src/postgres/control-data.ts';
import { isPromoted, settlePromotion } from '../../../src/postgres/promotion.ts';
import { resumeReplay } from '../../../src/postgres/recovery-progress.ts';
import { serverProcesses, serverState } from '../../../src/postgres/server-state.ts';
import { availableInstallations } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { createPitrScene, type PitrScene, type RestoredCopy, until } from './pitr-scene.ts';

const installations = await availableInstallations();

describe.each(installations)('a promotion on PostgreSQL $version', (installation) => {
  let scene: PitrScene;
  let target: Instant;

  beforeAll(async () => {
    scene = await createPitrScene(installation);
    await scene.source.query(`INSERT INTO t VALUES ('kept')`);
    target = parseInstant(await scene.now());
    // In the same segment: it lies in pg_wal of every server that got as far as the target.
    await scene.source.query(`INSERT INTO t VALUES ('left out')`);
    await scene.flush();
  });
  afterAll(async () => {
    await scene[Symbol.asyncDispose]();
  });

  /** A server that has left the signal of recovery and written its history, and whose last checkpoint of recovery never ends. */
  async function killedBeforeItsCheckpoint(copy: RestoredCopy): Promise<void> {
    await copy.configure({ target: { kind: 'time', time: target }, atTarget: 'pause' });
    await copy.start();
    expect(await copy.outcome()).toMatchObject({ paused: true });
    await using connection = await connectServer(copy.connectOptions);
    const checkpointer = Number(await connection.queryFirstValue(`SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`));
    process.kill(checkpointer, 'SIGSTOP');
    await resumeReplay(connection);
    const { dataDirectory } = copy;
    await until(async () => existsSync(join(dataDirectory, 'pg_wal', '00000002.history')));
    await until(async () => !existsSync(join(dataDirectory, 'recovery.signal')));
    await killServer(copy, checkpointer);
  }

  async function killServer({ dataDirectory }: RestoredCopy, ...others: number[]): Promise<void> {
    const { pid } = await serverState(dataDirectory);
    for (const victim of [pid!, ...others]) process.kill(victim, 'SIGKILL');
    await until(async () => (await serverProcesses(dataDirectory)).length === 0);
  }

  it('goes past the target when it is killed before its checkpoint and just started again: what settlePromotion is for', async () => {
    await using copy = await scene.restore();
    await killedBeforeItsCheckpoint(copy);
    await copy.start();
    expect(await waitUntil(() => copy.rows(), { description: 'the server answers' })).toEqual(['before backup', 'kept', 'left out']);
  });

  it.each(['removed', 'there still'])(
    'lands on the target after settlePromotion when it is killed before its checkpoint, its signal %s',
    async (signal) => {
      await using copy = await scene.restore();
      await killedBeforeItsCheckpoint(copy);
      const settings = { target: { kind: 'time', time: target }, startNumber: 2 } as const;
      if (signal === 'there still') await copy.configure(settings);
      expect(await isPromoted(copy.dataDirectory, 1)).toBe(false);
      await copy.configure(settings);
      await settlePromotion(copy.dataDirectory, 1);
      await copy.start();
      expect(await copy.outcome()).toMatchObject({ complete: true, newTimeline: 2, stop: { kind: 'before', record: 'commit' } });
      expect(await copy.rows()).toEqual(['before backup', 'kept']);
    },
  );

  it('stays on the target after settlePromotion when it is killed behind its checkpoint', async () => {
    await using copy = await scene.restore();
    await copy.configure({ target: { kind: 'time', time: target } });
    await copy.start();
    expect(await copy.outcome()).toMatchObject({ complete: true, newTimeline: 2 });
    await killServer(copy);
    expect(await isPromoted(copy.dataDirectory, 1)).toBe(true);
    await copy.configure({ target: { kind: 'time', time: target }, startNumber: 2 });
    await settlePromotion(copy.dataDirectory, 1);
    await copy.start();
    expect(await waitUntil(() => copy.rows(), { description: 'the server answers' })).toEqual(['before backup', 'kept']);
    expect(await readControlData(copy.dataDirectory)).toMatchObject({ timeline: 2 });
  });
});
