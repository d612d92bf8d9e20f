/** A scene whose restores are met at a step: somebody has taken it, and stands still before it is begun. */
import { Client, Connection } from '@temporalio/client';
import { waitUntil } from '../../harness/wait-until.ts';
import { Scene, type SceneOptions, type StartedRestore } from '../faults/scene.ts';

/** A step that the workflow has asked for and that is not done. */
export interface PendingStep {
  readonly id: string;
  readonly name: string;
  /** Somebody has taken it. */
  readonly isTaken: boolean;
}

const stepTimeoutMs = 60_000;
/** temporal.api.enums.v1.PendingActivityState */
const takenState = 2;

/** Steps are named as their activities. */
export class HeldSteps implements AsyncDisposable {
  readonly scene: Scene;
  readonly #stack: AsyncDisposableStack;
  readonly #client: Client;

  private constructor(scene: Scene, client: Client, stack: AsyncDisposableStack) {
    this.scene = scene;
    this.#client = client;
    this.#stack = stack;
  }

  static async open(options: SceneOptions = {}): Promise<HeldSteps> {
    await using stack = new AsyncDisposableStack();
    const scene = stack.use(await Scene.open(options));
    const connection = await Connection.connect({ address: scene.site.temporal.address });
    stack.defer(() => connection.close());
    return new HeldSteps(scene, new Client({ connection }), stack.move());
  }

  /** The step in flight; undefined between two, and at the end. */
  async pending({ handle }: StartedRestore): Promise<PendingStep | undefined> {
    const { raw } = await this.#client.workflow.getHandle(handle.workflowId).describe();
    const [activity] = raw.pendingActivities ?? [];
    if (activity === undefined) return undefined;
    return { id: activity.activityId ?? '', name: activity.activityType?.name ?? '', isTaken: Number(activity.state) === takenState };
  }

  /** The next step, once it is taken, whoever is to take it. */
  async next(started: StartedRestore, after: PendingStep | undefined): Promise<PendingStep> {
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

  /**
   * Lets a restore come to a step of the agent, which stands still with it in its hands. The agent must stand still since before the restore began.
   * @param thawAgent ends that
   * @param count which of several of the name. Default the first
   * @returns ends the standing still
   */
  async comeTo(
    started: StartedRestore,
    name: string,
    { thawAgent, count = 1 }: { thawAgent: () => void; count?: number },
  ): Promise<() => void> {
    let thaw = thawAgent;
    let met = 0;
    for (let step = await this.next(started, undefined); ; step = await this.next(started, step)) {
      if (step.name === name) met += 1;
      if (met === count) return thaw;
      if (isOfWorker(step.name)) continue;
      // The worker stands still meanwhile, so that the next step does not come before the agent stands still again.
      const thawWorker = this.scene.freeze('worker');
      thaw();
      await this.untilDone(started, step);
      thaw = this.scene.freeze('agent');
      thawWorker();
    }
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

/** Does the worker take the step, and no agent? */
export function isOfWorker(step: string): boolean {
  return step === 'planRestore' || step === 'storeLandingReport';
}
