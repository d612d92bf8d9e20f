/** Somebody else listens on the port of a restore before the restored cluster does. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { Scene, untilPhase } from './scene.ts';

it('a restore whose port was taken meanwhile says so, and not only that PostgreSQL did not start', async () => {
  await using scene = await Scene.open();
  const { time } = await scene.noteTarget();
  await scene.untilArchived((await scene.writeSegments(1)).at(-1) ?? '');
  const { handle, request } = await scene.restore({ name: 'late', target: { kind: 'time', time }, atTarget: 'pause' });
  await untilPhase(handle, 'paused-at-target');
  const other = createServer().listen({ host: '127.0.0.1', port: request.port });
  await once(other, 'listening');
  await handle.promote();
  const outcome: unknown = await handle.result().catch((error: unknown) => error);
  other.close();
  await once(other, 'close');
  expect(outcome).toMatchObject({
    code: 'PORT_IN_USE',
    message: expect.stringContaining(`Port ${request.port} is taken on this host.`),
  });
});
