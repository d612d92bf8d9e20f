import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startDemoSite } from '../../../src/demo/demo-site.ts';
import { markedProcesses } from '../../harness/processes.ts';
import { temporaryDirectory } from '../../harness/temp.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { documentedMembers, documentOf, mainProgram } from './run-cli.ts';

/** Issue: two demos at once share two cores here. */
const demoTimeoutMs = 110_000;

interface DemoRestore {
  readonly workflowId: string;
  readonly endReason: string;
  readonly oldPasswordRefused: boolean;
  readonly checks: readonly { readonly ok: boolean }[];
  readonly steps: readonly { readonly name: string; readonly milliseconds: number; readonly attempts: number }[];
}

/** A demo with a temporary directory of its own, as the leader of a process group like a command of a shell. */
async function startDemo(args: readonly string[]) {
  const directory = await temporaryDirectory('demo');
  const mark = `WALKBACK_DEMO_TEST=${directory.path}`;
  const child = spawn(process.execPath, [mainProgram, 'demo', ...args], {
    cwd: directory.path,
    env: { ...process.env, TMPDIR: directory.path, WALKBACK_DEMO_TEST: directory.path },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (text: Buffer) => (output.stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output.stderr += text.toString()));
  const ended = once(child, 'close');
  return {
    output,
    ended: async () => ((await ended) as [number | null, NodeJS.Signals | null])[0],
    /** What Ctrl-C does: every process of the group gets it. */
    interrupt: () => process.kill(-(child.pid ?? Number.NaN), 'SIGINT'),
    left: async () => {
      const processes = markedProcesses({ variable: mark, directory: directory.path }, new Set([process.pid]));
      const files = (await readdir(directory.path)).filter((name) => name !== 'node-compile-cache');
      return { processes: processes.map(({ commandLine }) => commandLine), files };
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null) child.kill('SIGKILL');
      await directory.remove();
    },
  };
}

afterEach(() => vi.unstubAllEnvs());

const nothing = { processes: [], files: [] };

describe('walkback demo', () => {
  it(
    'walkback demo --json prints one document of the promised shape, also when two run at once, and leaves nothing',
    async () => {
      await using first = await startDemo(['--json']);
      await using second = await startDemo(['--json']);
      for (const demo of [first, second]) {
        expect([await demo.ended(), demo.output.stderr.includes('walkback:')]).toEqual([0, false]);
        const document = documentOf(demo.output) as { ok: boolean; restores: readonly DemoRestore[]; totalMilliseconds: number };
        expect(Object.keys(document)).toEqual(['ok', 'temporal', 'restores', 'totalMilliseconds']);
        expect(document).toMatchObject({
          ok: true,
          temporal: { address: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string, ui: expect.stringMatching(/^http:/) as string },
          totalMilliseconds: expect.any(Number) as number,
        });
        expect(document.restores.map(({ endReason }) => endReason)).toEqual(['target-reached', 'ended-early-proven-complete']);
        const members = await documentedMembers('demo');
        expect(Object.keys(document.restores[0] ?? {}).filter((member) => !members.has(member))).toEqual([]);
        for (const restore of document.restores) assertRestoreShape(restore);
        expect(await demo.left()).toEqual(nothing);
      }
    },
    demoTimeoutMs,
  );

  it.each(['a base backup is in the archive', 'DROP TABLE customers'])(
    'walkback demo leaves no process and no directory when Ctrl-C ends it after "%s"',
    async (line) => {
      await using demo = await startDemo([]);
      await waitUntil(() => demo.output.stderr.includes(line), { timeoutMs: 60_000, description: `the demo says "${line}"` });
      demo.interrupt();
      expect(await demo.ended()).toBe(1);
      expect(demo.output.stderr).toContain('walkback: Ended by SIGINT.');
      await waitUntil(async () => (await demo.left()).processes.length === 0, { description: 'its processes have ended' });
      expect(await demo.left()).toEqual(nothing);
    },
    demoTimeoutMs,
  );

  it(
    'walkback demo leaves no process and no directory when Ctrl-C ends it while it starts',
    async () => {
      await using demo = await startDemo([]);
      await waitUntil(async () => (await demo.left()).processes.some((line) => line.includes('start-dev')), {
        timeoutMs: 30_000,
        description: 'Temporal is being started',
      });
      demo.interrupt();
      expect(await demo.ended()).toBe(1);
      expect(await demo.left()).toEqual(nothing);
    },
    demoTimeoutMs,
  );
});

describe('startDemoSite', () => {
  it('leaves no server and no directory when a part fails while others still start', async () => {
    await using directory = await temporaryDirectory('site');
    vi.stubEnv('TMPDIR', directory.path);
    const refused = new Error('there is no Temporal today');
    await expect(startDemoSite({ startTemporal: () => Promise.reject(refused) })).rejects.toBe(refused);
    expect(markedProcesses({ variable: 'none', directory: directory.path }, new Set([process.pid]))).toEqual([]);
    expect(await readdir(directory.path)).toEqual([]);
  });
});

function assertRestoreShape(restore: DemoRestore): void {
  expect(Object.keys(restore)).toEqual(
    expect.arrayContaining([
      'workflowId',
      'requestedTarget',
      'endReason',
      'lastCommitKept',
      'firstCommitLeftOut',
      'timeline',
      'newRole',
      'oldPasswordRefused',
      'checks',
      'steps',
    ]),
  );
  expect(restore.oldPasswordRefused).toBe(true);
  expect(restore.checks.length).toBeGreaterThan(0);
  expect(restore.checks.every(({ ok }) => ok)).toBe(true);
  for (const step of restore.steps) {
    expect(Object.keys(step)).toEqual(['name', 'milliseconds', 'attempts']);
    expect(Number.isInteger(step.milliseconds)).toBe(true);
  }
}
