/** One call of restore_command, as PostgreSQL makes it: by a shell, in the data directory. */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseWalSegmentName, walSegmentName } from '../../src/domain/wal-segment.ts';
import { type Measurement, measureWork } from '../measure/measure.ts';
import { Resident } from '../measure/resident.ts';
import { copyBase } from '../peers/local-files.ts';
import type { Peer, WalAccess } from '../peers/peer.ts';
import { median } from '../report/median.ts';
import { removeDirectory } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { MeasuredFigure, StageWithWal } from './figure.ts';

export const restoreCallHit: MeasuredFigure = {
  name: 'restore-call-hit',
  title: 'one restore_command call, segment there',
  unit: 'ms',
  target: { ratios: {}, oursMaximumSeconds: 0.005 },
  when: 'after-wal',
  measure: (stage, peer) => callSeries(stage, peer, 'hit'),
};

export const restoreCallAbsent: MeasuredFigure = {
  name: 'restore-call-absent',
  title: 'one restore_command call, segment absent',
  unit: 'ms',
  target: { ratios: {}, oursMaximumSeconds: 0.04 },
  when: 'after-wal',
  measure: (stage, peer) => callSeries(stage, peer, 'absent'),
};

/** A small process that starts the shell as PostgreSQL does; to start one takes Node three times as long as the shell needs. */
const callProgram = fileURLToPath(new URL('../measure/call.py', import.meta.url));
/** Calls of a series whose median counts, after those that warm up whatever a contestant keeps warm. */
const seriesMaximumCount = 24;
const warmUpCount = 4;
/** PostgreSQL takes about as long to replay a segment; whoever prefetches is done by then. */
const pauseMs = 150;

async function callSeries({ site, wal, local }: StageWithWal, peer: Peer, kind: 'hit' | 'absent'): Promise<Measurement> {
  const dataDirectory = join(site.restoredDirectory, 'called');
  await copyBase(local, dataDirectory);
  const access = await peer.openWal(dataDirectory, wal);
  const names = kind === 'hit' ? wal.names : absentNames(wal.names.at(-1) ?? '');
  const seconds: number[] = [];
  const caller = new Resident('python3', [callProgram], { env: baseEnvironment(), cwd: dataDirectory });
  try {
    const { measurement } = await measureWork({ ...access.usage, starters: () => [caller.pid] }, async () => {
      for (const name of names.slice(0, warmUpCount + seriesMaximumCount)) {
        seconds.push(await oneCall(access, { caller, dataDirectory, name, kind }));
        await delay(pauseMs);
      }
    });
    const counted = seconds.slice(Math.min(warmUpCount, seconds.length - 1));
    return { ...measurement, cpuSeconds: measurement.cpuSeconds / seconds.length, seconds: median(counted) };
  } finally {
    await caller[Symbol.asyncDispose]();
    await access.close();
    await removeDirectory(dataDirectory);
  }
}

interface Call {
  readonly caller: Resident;
  readonly dataDirectory: string;
  readonly name: string;
  readonly kind: 'hit' | 'absent';
}

async function oneCall({ restoreCommand }: WalAccess, { caller, dataDirectory, name, kind }: Call): Promise<number> {
  const path = 'pg_wal/RECOVERYXLOG';
  const command = restoreCommand.replaceAll('%f', name).replaceAll('%p', path).replaceAll('%%', '%');
  const { seconds, code } = (await caller.ask({ command, cwd: dataDirectory })) as { seconds: number; code: number | null };
  const target = join(dataDirectory, path);
  const isThere = await stat(target).then(
    () => true,
    () => false,
  );
  if (isThere !== (kind === 'hit') || (code === 0) !== (kind === 'hit')) throw new Error(`${command} ended with ${code}`);
  await rm(target, { force: true });
  return seconds;
}

/** Names that come after the last, which nobody has: each asked for once. */
function absentNames(last: string): readonly string[] {
  const { timeline, number } = parseWalSegmentName(last);
  return Array.from({ length: warmUpCount + seriesMaximumCount }, (_, index) =>
    walSegmentName({ timeline, number: number + BigInt(index + 1) }),
  );
}
