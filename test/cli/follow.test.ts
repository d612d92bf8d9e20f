import { describe, expect, it } from 'vitest';
import { follow, noteMissingWorker } from '../../src/cli/follow.ts';
import { createOutput } from '../../src/cli/output.ts';
import type { OperationHandle, RestoreFollowUp } from '../../src/client/handles.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import type { StepReport } from '../../src/domain/landing-report.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { fakeStream } from './fake-stream.ts';

interface Progress {
  readonly phase: string;
  readonly summary: string;
  readonly waitingFor: string | null;
  readonly steps: readonly StepReport[];
}
type Look = Omit<RestoreFollowUp<Progress>, 'status'> | WalkbackError;

const step = (name: string, attempts = 1): StepReport => ({ name, milliseconds: 1500, attempts });

/** An operation that answers each look in turn, the last one until it ends. */
function operation(looks: readonly Look[]) {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly steps: readonly StepReport[] }>();
  let lookCount = 0;
  const handle: OperationHandle<Progress, { readonly steps: readonly StepReport[] }> = {
    workflowId: 'restore/h/d',
    progress: async () => {
      const look = looks[Math.min(lookCount, looks.length - 1)];
      lookCount += 1;
      if (look === undefined || look instanceof WalkbackError) throw look ?? new WalkbackError('NO_WORKER', 'No worker.');
      return { status: 'running', ...look };
    },
    result: () => promise,
    cancel: () => Promise.resolve(),
  };
  return { handle, resolve, reject, lookCount: () => lookCount };
}

/** Follows until every look was taken, then ends the operation. */
async function followed(looks: readonly Look[], isTerminal: boolean, steps: readonly StepReport[]): Promise<string> {
  const stderr = fakeStream(isTerminal);
  const running = operation(looks);
  const following = follow(running.handle, createOutput({ json: false, stdout: fakeStream(false).stream, stderr: stderr.stream }));
  await waitUntil(() => running.lookCount() >= looks.length, { description: 'every look was taken' });
  running.resolve({ steps });
  await following;
  return stderr.text();
}

const fetching = { phase: 'fetch-base-backup', summary: 'Fetch base_1', waitingFor: null, steps: [step('plan')] };

describe('follow', () => {
  it('follow tells one line a step, each once, and the last ones from the result, when it writes to a pipe', async () => {
    const looks = [
      { phase: 'plan', summary: 'Plan', waitingFor: null, steps: [], activity: undefined },
      { ...fetching, activity: undefined },
    ];
    const text = await followed(looks, false, [step('plan'), step('fetch-base-backup', 3)]);
    expect(text).toBe('  plan: 1.5 s\n  fetch-base-backup: 1.5 s (attempt 3)\n');
  });

  it('follow shows phase, bytes of how many, and rate when it writes to a terminal', async () => {
    const looks = [
      { ...fetching, activity: { bytesDone: 1024 * 1024, bytesTotal: 4 * 1024 * 1024 } },
      { ...fetching, activity: { bytesDone: 3 * 1024 * 1024, bytesTotal: 4 * 1024 * 1024 } },
    ];
    const text = await followed(looks, true, [step('plan')]);
    expect(text).toContain('\r\u001B[2Kfetch-base-backup: Fetch base_1, 1.0 MiB of 4.0 MiB\r');
    const rate = Number(/3\.0 MiB of 4\.0 MiB, ([\d.]+) MiB\/s/.exec(text)?.[1]);
    expect(rate).toBeGreaterThan(0.5);
    expect(rate).toBeLessThan(5);
    expect(text.endsWith('\r\u001B[2K')).toBe(true);
  });

  it('follow shows the position replayed instead of bytes when PostgreSQL recovers', async () => {
    const recovering = { ...fetching, phase: 'await-recovery', summary: 'Await', activity: { replayedLsn: '0/5000028' } };
    expect(await followed([recovering], true, [])).toContain('await-recovery: Await, replayed to 0/5000028');
  });

  it('follow says once which decision is waited for', async () => {
    const paused = { phase: 'paused-at-target', summary: 'Paused', waitingFor: 'promote', steps: [], activity: undefined };
    expect(await followed([paused, paused], false, [])).toBe('Waiting for a decision: promote. Paused.\n');
  });

  it('follow goes on when progress cannot be had for a while', async () => {
    const away = new WalkbackError('NO_WORKER', 'No worker.');
    expect(await followed([away, { ...fetching, activity: undefined }], false, [step('plan')])).toBe('  plan: 1.5 s\n');
  });

  it('follow throws what the operation failed with', async () => {
    const running = operation([{ ...fetching, activity: undefined }]);
    const output = createOutput({ json: false, stdout: fakeStream(false).stream, stderr: fakeStream(false).stream });
    const following = follow(running.handle, output);
    running.reject(new WalkbackError('CHECK_FAILED', 'One check failed.'));
    await expect(following).rejects.toMatchObject({ code: 'CHECK_FAILED' });
  });
});

describe('noteMissingWorker', () => {
  it('noteMissingWorker tells that nobody works, and nothing when somebody does', async () => {
    const stderr = fakeStream(false);
    const output = createOutput({ json: false, stdout: fakeStream(false).stream, stderr: stderr.stream });
    await noteMissingWorker({ hasWorker: () => Promise.resolve(true) }, output);
    expect(stderr.text()).toBe('');
    await noteMissingWorker({ hasWorker: () => Promise.resolve(false) }, output);
    expect(stderr.text()).toContain('No worker answers yet');
  });
});
