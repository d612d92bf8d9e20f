/** kill -9 of the agent at any instant, while PostgreSQL replays: recovery waits for the next agent, and ends with the exact rows. */
import { appendFile, cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { restoreCommand } from '../../../src/agent/commands.ts';
import { prefetchDirectoryOf } from '../../../src/agent/restore/restore-fetcher.ts';
import { quoteValue } from '../../../src/postgres/configuration-file.ts';
import { type ConnectOptions, connectServer } from '../../../src/postgres/connection.ts';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { freePort, testAdminRole } from '../../harness/postgres.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { killCount, killsTimeoutMs } from './kill-count.ts';
import { KilledAgent, seed } from './killed-agent.ts';
import { fingerprintSql, KillScene } from './scene.ts';

const segmentCount = 40;
const recoveryTimeoutMs = 30_000;
let scene: KillScene;
let base: string;
let rows: string;

beforeAll(async () => {
  scene = await KillScene.open('kills-fetch');
  await using agent = new KilledAgent(scene.plan);
  await agent.start();
  base = join(scene.directory, 'base');
  await scene.source.stop();
  await cp(scene.source.dataDirectory, base, { recursive: true, mode: 0 });
  await scene.source.start();
  await scene.writeSegments(segmentCount);
  await scene.untilArchived();
  rows = (await scene.source.query<{ rows: string }>(fingerprintSql))[0]!.rows;
});
afterAll(async () => scene[Symbol.asyncDispose]());

describe('an agent that is killed while PostgreSQL replays', () => {
  it(
    `brings every segment, and recovery ends with the exact rows (${killCount} kills, seed ${seed})`,
    { timeout: killsTimeoutMs },
    async () => {
      for (let kills = 0, round = 1; kills < killCount; round += 1) kills += await recoverWithKills(round, killCount - kills);
    },
  );
});

/** @returns how often the agent was killed until recovery had ended */
async function recoverWithKills(round: number, killsMaximum: number): Promise<number> {
  const { directory, systemIdentifier, archiveDirectory, segments, source } = scene;
  const dataDirectory = join(directory, `restored-${round}`);
  const socketDirectory = join(directory, `s${round}`);
  await mkdir(socketDirectory);
  await cp(base, dataDirectory, { recursive: true });
  const prefetchDirectory = prefetchDirectoryOf(dataDirectory);
  await mkdir(prefetchDirectory, { recursive: true });
  const socketPath = join(socketDirectory, 'agent.sock');
  const restoreId = `round ${round}`;
  const view = { segments: [{ timeline: 1, first: segments[0]!, last: segments.at(-1)! }], histories: [] };
  await using agent = new KilledAgent({
    socketPath,
    stateDirectory: join(socketDirectory, 'state'),
    archiveDirectory,
    restore: { restoreId, archiveUrl: `file://${archiveDirectory}`, dataDirectory, systemIdentifier, view },
  });
  const port = await freePort();
  const settings = {
    port,
    unix_socket_directories: socketDirectory,
    archive_mode: 'off',
    restore_command: restoreCommand({ socketPath, restoreId, prefetchDirectory }),
    recovery_target_timeline: 'current',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoteValue(String(value))}\n`);
  await appendFile(join(dataDirectory, 'postgresql.conf'), lines.join(''));
  await writeFile(join(dataDirectory, 'recovery.signal'), '');
  const { binDirectory } = source.installation;
  const logFile = join(socketDirectory, 'server.log');
  const server = { host: socketDirectory, port, user: testAdminRole, database: 'postgres' };
  const recover = async () => {
    await startServer({ binDirectory, dataDirectory, logFile, timeoutMs: killsTimeoutMs, until: 'launched' });
    await waitUntil(async () => (await ask(server, 'SELECT pg_is_in_recovery()::text')) === 'false', {
      timeoutMs: killsTimeoutMs,
      description: 'recovery has ended',
    });
  };
  const recovered = recover();
  const progress = { killedCount: 0, isRecovered: false };
  recovered.then(
    () => (progress.isRecovered = true),
    () => (progress.isRecovered = true),
  );
  try {
    for (; progress.killedCount < killsMaximum && !progress.isRecovered; progress.killedCount += 1) await agent.startAndKill();
    if (!progress.isRecovered) await agent.start();
    await recovered;
    expect(await ask(server, fingerprintSql)).toBe(rows);
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: recoveryTimeoutMs });
    await rm(dataDirectory, { recursive: true, force: true });
  }
  return Math.max(1, progress.killedCount);
}

async function ask(server: ConnectOptions, sql: string): Promise<string | null> {
  await using connection = await connectServer(server);
  return await connection.queryFirstValue(sql);
}
