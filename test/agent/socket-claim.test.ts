import { spawnSync } from 'node:child_process';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listenOnSocket, type SocketServer } from '../../src/agent/socket-server.ts';
import type { WalkbackError } from '../../src/domain/errors.ts';
import { AgentFixture } from './agent-fixture.ts';

const rounds = 20;
const rivals = 8;
const handler = async () => ({ result: 'archived' }) as const;

/** A socket whose process was killed. */
function leaveDeadSocket(path: string): void {
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', program]);
}

describe('a socket that a dead agent left', () => {
  it('goes to one of several agents that start in the same instant', async () => {
    await using fixture = await AgentFixture.create();
    for (let round = 0; round < rounds; round += 1) {
      leaveDeadSocket(fixture.socketPath);
      expect((await stat(fixture.socketPath)).isSocket()).toBe(true);
      const outcomes = await Promise.allSettled(Array.from({ length: rivals }, () => listenOnSocket(fixture.socketPath, handler)));
      const winners = outcomes.filter((outcome): outcome is PromiseFulfilledResult<SocketServer> => outcome.status === 'fulfilled');
      expect(winners).toHaveLength(1);
      const losers = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => (reason as WalkbackError).code);
      expect(losers).toEqual(Array.from({ length: rivals - 1 }, () => 'ALREADY_RUNNING'));
      // The winner's is the one that lies there: it answers.
      await expect(listenOnSocket(fixture.socketPath, handler)).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
      await winners[0]!.value.close(0);
      expect((await readdir(fixture.directory)).filter((name) => name !== 'data')).toEqual([]);
    }
  });

  it('is not taken from an agent by the end of another', async () => {
    await using fixture = await AgentFixture.create();
    const first = await listenOnSocket(fixture.socketPath, handler);
    await rm(fixture.socketPath);
    const second = await listenOnSocket(fixture.socketPath, handler);
    await first.close(0);
    expect((await stat(fixture.socketPath)).isSocket()).toBe(true);
    await second.close(0);
  });

  it('is never a file that is no socket', async () => {
    await using fixture = await AgentFixture.create();
    const path = join(fixture.directory, 'agent.sock');
    await writeFile(path, 'precious');
    await expect(listenOnSocket(path, handler)).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });
});
