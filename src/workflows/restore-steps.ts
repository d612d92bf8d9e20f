/** The steps of a restore: one whose host does not answer waits for a person, since a data directory cannot move to another host. */
import type { Attempted } from '../activities/types.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import type { RestorePhase } from './contract.ts';
import { walkbackErrorOf } from './failures.ts';
import type { Desk, RestoreWorld } from './restore-world.ts';
import { StepRecorder, type StepState } from './step-recorder.ts';

/** Where a restore whose host is gone turns for a decision. */
interface HostWait {
  readonly request: CompleteRestoreRequest;
  readonly desk: Desk;
}

/** Remembers the steps of one restore. */
export class RestoreSteps extends StepRecorder<RestorePhase> {
  /** Who runs the steps. */
  readonly world: RestoreWorld;
  readonly #landing: { report: LandingReport | undefined };
  #hostWait: HostWait | undefined;

  /** @param render what the Temporal UI shows; it gets the landing report once there is one */
  constructor(world: RestoreWorld, render: (state: StepState<RestorePhase>, landing: LandingReport | undefined) => string) {
    const landing: { report: LandingReport | undefined } = { report: undefined };
    super('plan', (state) => render(state, landing.report), world.display);
    this.world = world;
    this.#landing = landing;
  }

  /** From here on the details show where the restore landed. */
  showLanding(report: LandingReport): void {
    this.#landing.report = report;
    this.show();
  }

  /** From here on, there is something on the host that is worth waiting for; ends with the returned function. */
  waitForHost(wait: HostWait): () => void {
    this.#hostWait = wait;
    return () => {
      this.#hostWait = undefined;
    };
  }

  /** As StepRecorder's; a step that no agent takes is tried again when somebody says so. @throws WalkbackError ABORTED too */
  override async run<T>(phase: RestorePhase, summary: string, activity: (summary: string) => Promise<Attempted<T>>): Promise<T> {
    for (;;) {
      try {
        return await super.run(phase, summary, activity);
      } catch (error) {
        if (this.#hostWait === undefined || this.world.isCancellation(error) || !isHostGone(error, this.#hostWait)) throw error;
        await this.#askAboutHost(phase, this.#hostWait);
      }
    }
  }

  async #askAboutHost(phase: RestorePhase, { request, desk }: HostWait): Promise<void> {
    const { host, dataDirectory, decisionWithinMinutes } = request;
    this.enter(
      'host-gone',
      `No agent on ${host} took the step ${phase}. What was restored lies in ${dataDirectory} there, and is not moved by itself.`,
      'the update `retry` (once the agent runs again) or `abort`, or cancel',
    );
    await desk.ask({ accepted: ['retry', 'abort'] }, decisionWithinMinutes);
  }
}

/** A step on another host, the source's, is not what the directory waits for. */
function isHostGone(error: unknown, { request }: HostWait): boolean {
  const { code, facts } = walkbackErrorOf(error, request.host);
  return code === 'NO_AGENT_ON_HOST' && (facts['host'] ?? request.host) === request.host;
}
