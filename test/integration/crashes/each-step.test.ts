/** The worker, or the agent, dies in each step of a restore in turn: one restore is killed fourteen times, and lands as if nothing had been. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { describe, expect, inject, it } from 'vitest';
import { temporaryDirectory } from '../../harness/temp.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene, type StartedRestore } from '../faults/scene.ts';

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
const stepTimeoutMs = 60_000;
const testTimeoutMs = 5 * 60_000;
const checks = [{ sql: 'SELECT 1', expected: '1' }];

/** A step that the workflow has asked for and that is not done. */
interface PendingStep {
  readonly id: string;
  readonly name: string;
  /** Somebody has taken it. */
  readonly isTaken: boolean;
}

/** temporal.api.enums.v1.PendingActivityState */
const takenState = 2;

class KilledRestore implements AsyncDisposable {
  readonly scene: Scene;
  readonly #stack: AsyncDisposableStack;
  readonly #client: Client;

  private constructor(scene: Scene, client: Client, stack: AsyncDisposableStack) {
    this.scene = scene;
    this.#client = client;
    this.#stack = stack;
  }

  static async open(): Promise<KilledRestore> {
    await using stack = new AsyncDisposableStack();
    const environment = { WALKBACK_WORKFLOW_BUNDLE: await impatientWorkflows(stack) };
    const scene = stack.use(await Scene.open({ environment }));
    const connection = await Connection.connect({ address: scene.site.temporal.address });
    stack.defer(() => connection.close());
    return new KilledRestore(scene, new Client({ connection }), stack.move());
  }

  /** The step in flight; undefined between two, and at the end. */
  async pending({ handle }: StartedRestore): Promise<PendingStep | undefined> {
    const { raw } = await this.#client.workflow.getHandle(handle.workflowId).describe();
    const [activity] = raw.pendingActivities ?? [];
    if (activity === undefined) return undefined;
    return { id: activity.activityId ?? '', name: activity.activityType?.name ?? '', isTaken: Number(activity.state) === takenState };
  }

  /** The next step, once it is taken, whoever is to take it. */
  async nextStep(started: StartedRestore, after: PendingStep | undefined): Promise<PendingStep> {
    return await waitUntil(
      async () => {
        const step = await this.pending(started);
        return step !== undefined && step.id !== after?.id && step.isTaken ? step : undefined;
      },
      { timeoutMs: stepTimeoutMs, description: `the step behind ${after?.name ?? 'the start'} is taken` },
    );
  }

  async untilDone(started: StartedRestore, { id, name }: PendingStep): Promise<void> {
    await waitUntil(async () => (await this.pending(started))?.id !== id, { timeoutMs: stepTimeoutMs, description: `${name} is done` });
  }

  /** The server is told at once that it waits for nobody; by itself it leaves the dead worker ten seconds to come for the next task. */
  async killWorker({ handle: { workflowId } }: StartedRestore): Promise<void> {
    await this.scene.kill('worker');
    const { workflowService, options } = this.#client;
    await workflowService.resetStickyTaskQueue({ namespace: options.namespace, execution: { workflowId } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
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
    await using killed = await KilledRestore.open();
    const { scene } = killed;
    await scene.writeSegments(2);
    const target = await scene.noteTarget();
    // The agent stands still while the worker is there, so that each step is met before it is done.
    let thaw = scene.freeze('agent');
    const started = await scene.restore({ name: 'worker-killed', target: { kind: 'time', time: target.time }, checks });
    const met: string[] = [];
    let step: PendingStep | undefined;
    while (met.length < everyStep.length) {
      step = await killed.nextStep(started, step);
      met.push(step.name);
      await killed.killWorker(started);
      if (isOfWorker(step.name)) {
        await scene.start('worker');
        continue;
      }
      thaw();
      await killed.untilDone(started, step);
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
    await using killed = await KilledRestore.open();
    const { scene } = killed;
    await scene.writeSegments(2);
    const target = await scene.noteTarget();
    let thawAgent = scene.freeze('agent');
    const started = await scene.restore({ name: 'agent-killed', target: { kind: 'time', time: target.time }, checks });
    const met: string[] = [];
    let step: PendingStep | undefined;
    while (met.length < onHost.length + onHostAfterProof.length) {
      step = await killed.nextStep(started, step);
      if (isOfWorker(step.name)) continue;
      met.push(step.name);
      // The worker stands still meanwhile, so that the next step does not come while this one is tried again.
      const thawWorker = scene.freeze('worker');
      thawAgent();
      await scene.kill('agent');
      await scene.start('agent');
      await killed.untilDone(started, step);
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

function isOfWorker(step: string): boolean {
  return step === 'planRestore' || step === 'storeLandingReport';
}
