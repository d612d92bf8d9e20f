/** An agent that is killed at instants that a seed decides, and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AgentPlan } from './agent-process.ts';

const program = fileURLToPath(new URL('agent-process.ts', import.meta.url));
const lifeMaximumMs = 250;

/** What decides their instants; a failure names it, so that it can be repeated. */
export const seed = Number(process.env['WALKBACK_TEST_SEED'] ?? 1);

export class KilledAgent implements AsyncDisposable {
  readonly #plan: AgentPlan;
  readonly #random = randomFrom(seed);
  #child: ChildProcess | undefined;

  constructor(plan: AgentPlan) {
    this.#plan = plan;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [program, JSON.stringify(this.#plan)], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    await once(child.stdout, 'data');
  }

  /** Starts it and kills it after a while: mostly in its work, at times in its start. */
  async startAndKill(): Promise<void> {
    const isKilledInStart = this.#random() < 0.1;
    const starting = this.start();
    if (!isKilledInStart) await starting;
    await delay(this.#random() * lifeMaximumMs);
    starting.catch(() => undefined);
    await this.kill();
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** Mulberry32: the same numbers for the same seed, on every machine. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
