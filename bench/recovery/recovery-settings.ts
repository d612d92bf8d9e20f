/**
 * `npm run bench -- --recovery-settings`: the same WAL replayed on equal copies of one base backup, by `cp` from the same disk, under settings that count
 * only while recovering. What replay saves the end-of-recovery checkpoint may have to pay for, so both are measured: redo alone, and until writable.
 */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { quoteValue } from '../../src/postgres/configuration-file.ts';
import { startServer, stopServer } from '../../src/postgres/process-control.ts';
import { untilRedone } from '../figures/wal-replay.ts';
import type { BenchOptions } from '../options.ts';
import { copyBase, createLocalFiles, type LocalFiles } from '../peers/local-files.ts';
import { recoverySettings, untilWritable } from '../peers/whole-restore.ts';
import { median } from '../report/median.ts';
import { type BenchSite, removeDirectory } from '../site/bench-site.ts';
import type { BenchWal } from '../site/source.ts';

/** Settings of one column of the table. */
export interface SettingsVariant {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
}

/** What was measured of it, in seconds: medians of interleaved runs. */
export interface SettingsResult extends SettingsVariant {
  readonly redoSeconds: number;
  /** CPU of the process that replays: it says the same on a machine that is busy with other things. */
  readonly redoCpuSeconds: number;
  readonly writableSeconds: number;
}

/** PostgreSQL's own defaults. */
const stock = { shared_buffers: '128MB', max_wal_size: '1GB', checkpoint_timeout: '5min', autovacuum: 'on' };
const variants: readonly SettingsVariant[] = [
  { name: 'stock', settings: stock },
  { name: 'restartpoints seldom', settings: { ...stock, max_wal_size: '4GB', checkpoint_timeout: '1h', autovacuum: 'off' } },
  { name: 'larger buffers', settings: { ...stock, shared_buffers: '1GB', autovacuum: 'off' } },
  { name: 'both', settings: { ...stock, shared_buffers: '1GB', max_wal_size: '4GB', checkpoint_timeout: '1h', autovacuum: 'off' } },
  { name: 'stock, recovery_prefetch off', settings: { ...stock, recovery_prefetch: 'off' } },
];

/** An OLTP source checkpoints: so many segments lie between two, and only at a checkpoint's record can there be a restartpoint. */
const segmentsBetweenCheckpoints = 8;
const serverTimeoutMs = 60_000;

/** Measures all of them. */
export async function measureRecoverySettings(
  site: BenchSite,
  options: BenchOptions,
  { say, signal }: { readonly say: (line: string) => void; readonly signal: AbortSignal },
): Promise<readonly SettingsResult[]> {
  const local = await createLocalFiles(site);
  await local.pushBaseBackup();
  await site.source.setArchiveCommand('');
  await site.source.setArchiveMode('on');
  say(`${options.segments} segments of WAL with a checkpoint every ${segmentsBetweenCheckpoints}`);
  const wal = await site.source.writeWal(options.segments, '', { checkpointEvery: segmentsBetweenCheckpoints });
  const names = [...wal.earlier, ...wal.names];
  await site.source.markUnarchived(names);
  await site.source.setArchiveCommand(local.archiveCommand);
  await site.source.untilArchived(names);
  const runs = new Map(variants.map((variant) => [variant, [] as Replayed[]]));
  for (let run = 1; run <= options.runs; run += 1) {
    for (const [variant, replayed] of runs) {
      signal.throwIfAborted();
      const seconds = await replay({ site, local, wal }, variant);
      replayed.push(seconds);
      say(
        `run ${run}/${options.runs}  ${variant.name.padEnd(30)} redo ${seconds.redo.toFixed(2)} s (CPU ${seconds.redoCpu.toFixed(2)} s), writable ${seconds.writable.toFixed(2)} s`,
      );
    }
  }
  return [...runs].map(([variant, replayed]) => ({
    ...variant,
    redoSeconds: median(replayed.map(({ redo }) => redo)),
    redoCpuSeconds: median(replayed.map(({ redoCpu }) => redoCpu)),
    writableSeconds: median(replayed.map(({ writable }) => writable)),
  }));
}

interface Replayed {
  readonly redo: number;
  readonly redoCpu: number;
  readonly writable: number;
}

interface Place {
  readonly site: BenchSite;
  readonly local: LocalFiles;
  readonly wal: BenchWal;
}

async function replay({ site, local, wal }: Place, { settings }: SettingsVariant): Promise<Replayed> {
  const dataDirectory = join(site.restoredDirectory, 'settings');
  await copyBase(local, dataDirectory);
  const [port, socketDirectory] = [await freePort(), site.demo.directory];
  const access = await local.openWal(dataDirectory, wal);
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${quoteValue(value)}\n`);
  const common = recoverySettings({ port, socketDirectory, restoreCommand: access.restoreCommand });
  await appendFile(join(dataDirectory, 'postgresql.auto.conf'), `${common}${lines.join('')}`);
  await writeFile(join(dataDirectory, 'recovery.signal'), '');
  const logFile = `${dataDirectory}.log`;
  const startedMs = performance.now();
  try {
    await startServer({ binDirectory: site.demo.installation.binDirectory, dataDirectory, logFile, timeoutMs: serverTimeoutMs });
    const redo = await untilRedone(logFile);
    const redoCpu = cpuOfRedo(await readFile(logFile, 'utf8'));
    await untilWritable(socketDirectory, port);
    return { redo, redoCpu, writable: (performance.now() - startedMs) / 1000 };
  } finally {
    await stopServer({ dataDirectory, mode: 'immediate', timeoutMs: serverTimeoutMs });
    await access.close();
    await removeDirectory(dataDirectory);
    await removeDirectory(logFile);
  }
}

/** `redo done at 0/… system usage: CPU: user: 1.60 s, system: 0.41 s, elapsed: 5.31 s` */
function cpuOfRedo(log: string): number {
  const [, user, system] = /redo done at .*user: ([\d.]+) s, system: ([\d.]+) s/.exec(log) ?? [];
  return Number(user) + Number(system);
}
