/** The worker, or the agent, dies in each step of a restore in turn: one restore is killed fourteen times, and lands as if nothing had been. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import { temporaryDirectory } from '../../harness/temp.ts';
import { HeldSteps, isOfWorker, type PendingStep } from './held-steps.ts';

/** In the order in which the workflow asks for them. */
const onHost = ['checkHost', 'flushSource'];
const onHostAfterProof = [
  'createDataDirectory',
  'fetchBaseBackup',
  'configureRecovery',
  'startPostgres',
  'awaitRecovery',
  'swapRoles',
  'takeInventory',
  'runChecks',
  'openToClients',
];
const everyStep = ['planRestore', ...onHost, 'planRestore', ...onHostAfterProof, 'storeLandingReport'];
const testTimeoutMs = 5 * 60_000;
const checks = [{ sql: 'SELECT 1', expected: '1' }];

async function openHeld(stack: AsyncDisposableStack): Promise<HeldSteps> {
  return stack.use(await HeldSteps.open({ environment: { WALKBACK_WORKFLOW_BUNDLE: await impatientWorkflows(stack) } }));
}

/** The workflows, with steps that count as lost after seconds: a step that somebody has taken with him is given up by its heartbeat. */
async function impatientWorkflows(stack: AsyncDisposableStack): Promise<string> {
  const code = await readFile(inject('temporal').workflowBundlePath, 'utf8');
  const impatient = code
    .replaceAll(/heartbeatTimeout: '(?:15|30) seconds'/g, `heartbeatTimeout: '4 seconds'`)
    .replaceAll(`storeLandingReport: { startToCloseTimeout: '1 minute'`, `storeLandingReport: { startToCloseTimeout: '4 seconds'`);
  expect(impatient.match(/'4 seconds'/g)?.length).toBeGreaterThan(5);
  const directory = stack.use(await temporaryDirectory('impatient'));
  const path = join(directory.path, 'workflows.js');
  await writeFile(path, impatient);
  return path;
}

describe.concurrent('a restore, in each of its steps', { timeout: testTimeoutMs }, () => {
  it('A8: goes on after kill -9 of the worker, which another one takes up from', async () => {
    await using stack = new AsyncDisposableStack();
    const held = await openHeld(stack);
    const { scene } = held;
    await scene.writeSegments(2);
    const target = await scene.noteTarget();
    // The agent stands still while the worker is there, so that each step is met before it is done.
    let thaw = scene.freeze('agent');
    const started = await scene.restore({ name: 'worker-killed', target: { kind: 'time', time: target.time }, checks });
    const met: string[] = [];
    let step: PendingStep | undefined;
    while (met.length < everyStep.length) {
      step = await held.next(started, step);
      met.push(step.name);
      await held.killWorker(started);
      if (isOfWorker(step.name)) {
        await scene.start('worker');
        continue;
      }
      thaw();
      await held.untilDone(started, step);
      thaw = scene.freeze('agent');
      await scene.start('worker');
    }
    thaw();
    const report = await started.handle.result();
    expect(met).toEqual(everyStep);
    expect(report).toMatchObject({ endReason: 'target-reached', timeline: 2 });
    expect(await scene.rowsOf(report)).toBe(target.rows);
  });

  it('A8: goes on after kill -9 of the agent, which has taken the step with it', async () => {
    await using stack = new AsyncDisposableStack();
    const held = await openHeld(stack);
    const { scene } = held;
    await scene.writeSegments(2);
    const target = await scene.noteTarget();
    let thawAgent = scene.freeze('agent');
    const started = await scene.restore({ name: 'agent-killed', target: { kind: 'time', time: target.time }, checks });
    const met: string[] = [];
    let step: PendingStep | undefined;
    while (met.length < onHost.length + onHostAfterProof.length) {
      step = await held.next(started, step);
      if (isOfWorker(step.name)) continue;
      met.push(step.name);
      // The worker stands still meanwhile, so that the next step does not come while this one is tried again.
      const thawWorker = scene.freeze('worker');
      thawAgent();
      await scene.kill('agent');
      await scene.start('agent');
      await held.untilDone(started, step);
      thawAgent = scene.freeze('agent');
      thawWorker();
    }
    thawAgent();
    const report = await started.handle.result();
    expect(met).toEqual([...onHost, ...onHostAfterProof]);
    expect(report).toMatchObject({ endReason: 'target-reached', timeline: 2 });
    expect(await scene.rowsOf(report)).toBe(target.rows);
    for (const name of ['fetch-base-backup', 'swap-roles', 'open-to-clients'])
      expect(report.steps.find((taken) => taken.name === name)?.attempts).toBeGreaterThan(1);
  });
});
