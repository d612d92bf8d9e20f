import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitUntil } from '../harness/wait-until.ts';
import { setClock, settableClock } from './clock-file.ts';

const minuteMs = 60_000;
/** Says in a thread what its clock shows, in all ways of asking, and how long its timers have run. */
const program = `import { isMainThread, Worker } from 'node:worker_threads';
if (isMainThread) new Worker(new URL(import.meta.url));
else setInterval(() => console.log([Date.now(), new Date().getTime(), new Date(5).getTime(), performance.now()].join(' ')), 20)`;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'walkback-clock-'));
});
afterEach(async () => rm(directory, { recursive: true, force: true }));

describe('a clock of chaos', () => {
  it('jumps forward and backward while its process runs, and nobody else has it', async () => {
    const file = join(directory, 'clock');
    const path = join(directory, 'program.mjs');
    await writeFile(path, program);
    const child = spawn(process.execPath, [path, 'agent'], { env: { ...process.env, ...settableClock(file) } });
    try {
      let last: number[] = [];
      createInterface(child.stdout).on('line', (line) => (last = line.split(' ').map(Number)));
      const untilOffBy = async (minutes: number) => {
        const said = await waitUntil(() => Math.round(((last[0] ?? 0) - Date.now()) / minuteMs) === minutes && last, {
          timeoutMs: 20_000,
          description: `the clock is off by ${minutes} minutes`,
        });
        expect(Math.abs(said[1]! - said[0]!)).toBeLessThan(minuteMs);
        expect(said[2]).toBe(5);
        return said[3]!;
      };
      const ranMs = [await untilOffBy(0)];
      for (const minutes of [10, -10, 0]) {
        await setClock(file, 'worker', -3 * minuteMs);
        await setClock(file, 'agent', minutes * minuteMs);
        ranMs.push(await untilOffBy(minutes));
      }
      expect(ranMs).toEqual(ranMs.toSorted((one, other) => one - other));
      expect(ranMs.at(-1)).toBeLessThan(minuteMs);
    } finally {
      child.kill('SIGKILL');
    }
  });
});
