/** A scene whose Temporal is gone: the agent restores by itself, asked by the command line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { agentStatus } from '../../src/agent/client.ts';
import { demoCluster, demoHost } from '../../src/demo/demo-site.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { directRestoreId } from '../../src/domain/workflow-ids.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { documentOf, mainProgram, runCli } from './cli/run-cli.ts';
import { Scene } from './faults/scene.ts';

/** What `walkback status ID --json` prints. */
export interface DirectStatus {
  readonly phase: string;
  readonly status: string;
  readonly summary: string;
  readonly waitingFor: string | null;
  readonly steps: LandingReport['steps'];
}

/** The scene, with the agent in a process of its own that may be killed. */
export class DirectScene implements AsyncDisposable {
  readonly scene: Scene;
  #agent: ReturnType<typeof spawn>;

  private constructor(scene: Scene) {
    this.scene = scene;
    this.#agent = this.#spawnAgent();
  }

  /** @param prepare what needs Temporal or the source before both planes are parted */
  static async open(prepare: (scene: Scene) => Promise<void>): Promise<DirectScene> {
    const scene = await Scene.open();
    await prepare(scene);
    await scene.stop('worker');
    await scene.stop('agent');
    await scene.site.temporal.close();
    const direct = new DirectScene(scene);
    await direct.#untilAgentAnswers();
    return direct;
  }

  /** It serves before, and without, Temporal. */
  async startAgent(): Promise<void> {
    this.#agent = this.#spawnAgent();
    await this.#untilAgentAnswers();
  }

  async endAgent(signal: NodeJS.Signals): Promise<void> {
    const ended = once(this.#agent, 'exit');
    this.#agent.kill(signal);
    await ended;
  }

  directoryOf(name: string): string {
    return join(this.scene.site.directory, name);
  }

  idOf(name: string): string {
    return directRestoreId(demoHost, this.directoryOf(name));
  }

  /** `walkback restore --direct` of the demo's cluster. */
  async argumentsOf(name: string, to: string, more: readonly string[] = []): Promise<string[]> {
    const dataDirectory = this.directoryOf(name);
    this.scene.site.restored.push(dataDirectory);
    const place = ['--as', name, '--data-directory', dataDirectory, '--port', String(await freePort())];
    return ['restore', demoCluster, '--to', to, ...place, '--direct', '--json', ...more];
  }

  async statusOf(name: string): Promise<DirectStatus> {
    return documentOf(await runCli(this.scene.site, ['status', this.idOf(name), '--json'])) as DirectStatus;
  }

  /** Waits until the restore waits for a person, after so many ends of recovery. */
  async untilWaiting(name: string, recoveries: number): Promise<DirectStatus> {
    return await waitUntil(
      async () => {
        const status = await this.statusOf(name);
        const ends = status.steps?.filter((step) => step.name === 'await-recovery').length;
        return status.waitingFor !== null && status.waitingFor !== undefined && ends === recoveries ? status : undefined;
      },
      { timeoutMs: 60_000, description: `${name} waits for a decision after ${recoveries} recoveries` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endAgent('SIGTERM');
    await this.scene[Symbol.asyncDispose]();
  }

  #spawnAgent(): ReturnType<typeof spawn> {
    const { directory, environment } = this.scene.site;
    return spawn(process.execPath, [mainProgram, 'agent'], { cwd: directory, env: { ...process.env, ...environment }, stdio: 'ignore' });
  }

  async #untilAgentAnswers(): Promise<void> {
    const socket = join(this.scene.site.directory, 'agent', 'agent.sock');
    await waitUntil(
      () =>
        agentStatus(socket).then(
          () => true,
          () => false,
        ),
      { timeoutMs: 30_000, description: 'the agent answers' },
    );
  }
}

/** The report that a command printed. */
export function reportOf(outcome: { readonly stdout: string }): LandingReport {
  return (documentOf(outcome) as { report: LandingReport }).report;
}
