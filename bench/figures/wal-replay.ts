/** Replay of all the WAL, through the real restore_command, on equal copies of one base backup. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { startServer, stopServer } from '../../src/postgres/process-control.ts';
import { type Measurement, measureWork } from '../measure/measure.ts';
import { readProcessTable } from '../measure/process-table.ts';
import { copyBase } from '../peers/local-files.ts';
import type { Peer } from '../peers/peer.ts';
import { recoverySettings, untilWritable } from '../peers/whole-restore.ts';
import { removeDirectory } from '../site/bench-site.ts';
import type { MeasuredFigure, StageWithWal } from './figure.ts';

export const walReplay: MeasuredFigure = {
  name: 'wal-replay',
  title: 'replay through restore_command',
  unit: 's',
  target: { ratios: { 'local-files': 1 / 1.05, 'wal-g': 1.2 } },
  when: 'after-wal',
  measure: replay,
};

const serverTimeoutMs = 60_000;
const replayTimeoutMs = 10 * 60_000;
const pollMs = 50;

async function replay(stage: StageWithWal, peer: Peer): Promise<Measurement> {
  const { site, wal, local } = stage;
  const dataDirectory = join(site.restoredDirectory, 'replayed');
  await copyBase(local, dataDirectory);
  const access = await peer.openWal(dataDirectory, wal);
  const port = await freePort();
  const settings = recoverySettings({ port, socketDirectory: site.demo.directory, restoreCommand: access.restoreCommand });
  await appendFile(join(dataDirectory, 'postgresql.auto.conf'), settings);
  await writeFile(join(dataDirectory, 'recovery.signal'), '');
  const logFile = `${dataDirectory}.log`;
  const { binDirectory } = site.demo.installation;
  let postmasterPid: number | undefined;
  const startupPids = (): readonly number[] => (postmasterPid === undefined ? [] : childrenOf(postmasterPid));
  try {
    const { measurement, result } = await measureWork({ ...access.usage, starters: startupPids }, async () => {
      const { pid } = await startServer({ binDirectory, dataDirectory, logFile, timeoutMs: serverTimeoutMs });
      postmasterPid = pid;
      return await untilRedone(logFile);
    });
    await untilWritable(site.demo.directory, port);
    return { ...measurement, seconds: result };
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: serverTimeoutMs });
    await access.close();
    await removeDirectory(dataDirectory);
    await removeDirectory(logFile);
  }
}

/** PostgreSQL itself says how long redo took (xlogrecovery.c, "redo done at"): from its first record to its last, restore_command included. */
export async function untilRedone(logFile: string): Promise<number> {
  for (const giveUpAtMs = Date.now() + replayTimeoutMs; Date.now() < giveUpAtMs; await delay(pollMs)) {
    const text = await readFile(logFile, 'utf8').catch(() => '');
    const elapsed = /redo done at .*elapsed: ([\d.]+) s/.exec(text)?.[1];
    if (elapsed !== undefined) return Number(elapsed);
    if (/FATAL|PANIC/.test(text)) throw new Error(`replay failed: ${text.slice(-2000)}`);
  }
  throw new Error(`replay did not end within ${replayTimeoutMs / 1000} s`);
}

/** The startup process runs restore_command and waits for it. */
function childrenOf(postmasterPid: number): readonly number[] {
  return [...readProcessTable().values()].filter(({ parentPid }) => parentPid === postmasterPid).map(({ pid }) => pid);
}
