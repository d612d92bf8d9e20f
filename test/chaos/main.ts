/**
 * `npm run chaos -- --seeds 200`: so many runs of the whole story, each with troubles that its seed decides; `--seed N` replays one, as
 * far as a plan can: what meets what within a millisecond is up to the machine. Ends with
 * exit code 1 when a run came to neither exact rows nor a clear failure. `--lanes N` sites are worked on at once. As root a small file system is
 * mounted, to be filled up and freed too; elsewhere WALKBACK_SMALL_DISK may name a directory
 * with one in it (`mount -t tmpfs -o size=320m tmpfs DIR/chaos`).
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/domain/errors.ts';
import { smallDisk } from '../harness/small-disk.ts';
import { bundleWorkflows } from '../harness/temporal.ts';
import { ChaosLanes } from './chaos-lanes.ts';
import { chaosPlan, describePlan } from './chaos-plan.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    lanes: { type: 'string', default: '4' },
  },
});
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const laneCount = Math.min(Number(values.lanes), count);
if (![first, count, laneCount].every(Number.isInteger) || count < 1 || laneCount < 1)
  throw new Error('--seeds, --first, --seed and --lanes are whole numbers.');

const disk = smallDisk('chaos');
if (disk.path === undefined) process.stdout.write(`${disk.why}\n`);
const startedMs = performance.now();
const failed: number[] = [];
const ended = new Map<string, number>();
const seeds = Array.from({ length: count }, (_, index) => first + index);
await using bundle = await bundleWorkflows();
process.env['WALKBACK_WORKFLOW_BUNDLE'] = bundle.path;
await using lanes = new ChaosLanes(laneCount, { smallDisk: disk.path });
await Promise.all(Array.from({ length: laneCount }, workOff));
const counts = [...ended].map(([kind, runs]) => `${kind} ${runs}`).join(', ');
process.stdout.write(
  `${count} runs in ${secondsSince(startedMs)} s: ${counts}${failed.length === 0 ? '' : `; WRONG: ${failed.join(', ')}`}\n`,
);
if (failed.length > 0) process.exitCode = 1;

async function workOff(): Promise<void> {
  for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
    const plan = chaosPlan(seed);
    const runStartedMs = performance.now();
    process.stdout.write(`seed ${seed}: ${describePlan(plan)}\n`);
    const end = (line: string) => process.stdout.write(`seed ${seed}: ${line} (${secondsSince(runStartedMs)} s)\n`);
    try {
      const verdict = await lanes.run(plan);
      const kind = verdict.kind === 'landed' ? 'landed' : verdict.code;
      ended.set(kind, (ended.get(kind) ?? 0) + 1);
      end(verdict.kind === 'landed' ? 'landed with the exact rows' : `failed clearly, ${verdict.code}: ${verdict.message}`);
    } catch (error) {
      failed.push(seed);
      end(`WRONG: ${messageOf(error)}\nseed ${seed}: replay it with: npm run chaos -- --seed ${seed}`);
    }
  }
}

function secondsSince(sinceMs: number): string {
  return ((performance.now() - sinceMs) / 1000).toFixed(1);
}
