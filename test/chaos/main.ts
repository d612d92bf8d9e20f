/**
 * `npm run chaos -- --seeds 200`: so many runs of the whole story, each with troubles that its seed decides; `--seed N` replays one, as
 * far as a plan can: what meets what within a millisecond is up to the machine. Ends with
 * exit code 1 when a run came to neither exact rows nor a clear failure. `--small-disk DIR` names an empty directory on a small file system
 * of its own (`mount -t tmpfs -o size=700m tmpfs DIR`), which is filled up and freed too.
 */
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/domain/errors.ts';
import { chaosPlan, describePlan } from './chaos-plan.ts';
import { runPlan } from './chaos-run.ts';
import { ChaosSite } from './chaos-site.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    'small-disk': { type: 'string' },
  },
});
const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;
if (!Number.isInteger(first) || !Number.isInteger(count) || count < 1) throw new Error('--seeds, --first and --seed are whole numbers.');

const smallDisk = values['small-disk'];
const failed: number[] = [];
const ended = new Map<string, number>();
let site = await ChaosSite.open({ smallDisk });
try {
  for (let seed = first; seed < first + count; seed += 1) {
    const plan = chaosPlan(seed, { withSmallDisk: smallDisk !== undefined });
    const startedMs = performance.now();
    process.stdout.write(`seed ${seed}: ${describePlan(plan)}\n`);
    const end = (line: string) =>
      process.stdout.write(`seed ${seed}: ${line} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)\n`);
    try {
      const verdict = await runPlan(site, plan);
      const kind = verdict.kind === 'landed' ? 'landed' : verdict.code;
      ended.set(kind, (ended.get(kind) ?? 0) + 1);
      end(verdict.kind === 'landed' ? 'landed with the exact rows' : `failed clearly, ${verdict.code}: ${verdict.message}`);
    } catch (error) {
      failed.push(seed);
      end(
        `WRONG: ${messageOf(error)}\nseed ${seed}: replay it with: npm run chaos -- --seed ${seed}${smallDisk === undefined ? '' : ` --small-disk ${smallDisk}`}`,
      );
      // What it left is none of the next one's troubles.
      await site[Symbol.asyncDispose]();
      site = await ChaosSite.open({ smallDisk });
    }
  }
} finally {
  await site[Symbol.asyncDispose]();
}
const counts = [...ended].map(([kind, runs]) => `${kind} ${runs}`).join(', ');
process.stdout.write(`${count} runs: ${counts}${failed.length === 0 ? '' : `; WRONG: ${failed.join(', ')}`}\n`);
if (failed.length > 0) process.exitCode = 1;
