/** Measures the figures: everybody in turn, and that several times, so that a slow minute of the machine hits all. */
import { type Contestants, takesPart } from './contestants.ts';
import { pushBaseBackup } from './figures/base-backups.ts';
import { figures } from './figures/catalog.ts';
import type { Stage, StageWithWal } from './figures/figure.ts';
import { archiveSegments } from './figures/wal-push.ts';
import { type Measurement, runCommand } from './measure/measure.ts';
import type { BenchOptions } from './options.ts';
import { labelOf, type Peer } from './peers/peer.ts';
import { type FigureResult, resultOf } from './results.ts';
import type { BenchSite } from './site/bench-site.ts';
import { baseEnvironment } from './site/s3.ts';
import { useMemoryOnce } from './site/used-memory.ts';

/** What the runs need. */
export interface RunContext {
  readonly site: BenchSite;
  readonly contestants: Contestants;
  readonly options: BenchOptions;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Runs all figures that were asked for. */
export async function runFigures(context: RunContext): Promise<readonly FigureResult[]> {
  const { site, contestants, options, say } = context;
  const stage: Stage = { site, peers: contestants.all, local: contestants.local };
  const wanted = figures.filter(({ name }) => options.figures.includes(name));
  const results: FigureResult[] = [];
  say('memory is used once, as on a server that has been up for a while');
  await useMemoryOnce(site.peersDirectory);
  say('a base backup by everybody, not measured');
  for (const peer of contestants.all) await pushBaseBackup(stage, peer);
  for (const figure of wanted) {
    if (figure.when === 'before-wal') results.push(await inTurn(context, figure, (peer) => figure.measure(stage, peer)));
  }
  if (!wanted.some(({ when }) => when === 'after-wal')) return results;
  say(`${options.segments} segments of WAL, archived by everybody, not measured`);
  const stageWithWal = await withWal(context, stage);
  for (const figure of wanted) {
    if (figure.when === 'after-wal') results.push(await inTurn(context, figure, (peer) => figure.measure(stageWithWal, peer)));
  }
  return results;
}

async function withWal({ site, contestants, options }: RunContext, stage: Stage): Promise<StageWithWal> {
  await site.source.setArchiveCommand('');
  await site.source.setArchiveMode('on');
  const wal = await site.source.writeWal(options.segments, contestants.walkback.backupSegment);
  for (const peer of contestants.all) await archiveSegments(stage, peer, [...wal.earlier, ...wal.names]);
  return { ...stage, wal };
}

async function inTurn(
  { contestants, options, say, signal }: RunContext,
  figure: FigureResult['figure'],
  measure: (peer: Peer) => Promise<Measurement>,
): Promise<FigureResult> {
  const peers = contestants.all.filter((peer) => takesPart(peer, figure.name));
  const measured = new Map<Peer, Measurement[]>(peers.map((peer) => [peer, []]));
  for (let run = 1; run <= options.runs; run += 1) {
    for (const [peer, measurements] of measured) {
      signal.throwIfAborted();
      await flushDisks();
      const measurement = await measure(peer);
      measurements.push(measurement);
      say(`${figure.name} run ${run}/${options.runs}  ${labelOf(peer).padEnd(18)} ${describe(measurement)}`);
    }
  }
  return { figure, results: [...measured].map(([peer, measurements]) => resultOf(peer, measurements)) };
}

/** What the one before has left to be written, the next one would wait for. */
async function flushDisks(): Promise<void> {
  await runCommand('sync', [], { env: baseEnvironment(), cwd: '/' });
}

function describe({ seconds, cpuSeconds, peakBytes }: Measurement): string {
  const mebibytes = Math.round(peakBytes / 1024 / 1024);
  return `${(seconds * 1000).toFixed(1).padStart(9)} ms  CPU ${cpuSeconds.toFixed(2)} s  ${mebibytes} MiB`;
}
