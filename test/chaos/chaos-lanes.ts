/** Several sites beside each other, each with troubles of its own: most of a run is waiting for somebody to come back. */
import type { ChaosPlan } from './chaos-plan.ts';
import { type ChaosVerdict, runPlan } from './chaos-run.ts';
import { ChaosSite } from './chaos-site.ts';

const processesOfSite = 3;

export class ChaosLanes implements AsyncDisposable {
  readonly #free: ChaosSite[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #smallDisk: string | undefined;
  /** How many sites may be opened yet. */
  #unopened: number;
  /** One after the other: the start of a site is work for the machine, and runs are waiting. */
  #opening: Promise<unknown> = Promise.resolve();
  /** There is one small disk: who fills it is alone on it. */
  #smallDiskIsFree: Promise<unknown> = Promise.resolve();

  /**
   * Sites are opened as runs come.
   * @param options `smallDisk`: a directory on a small file system of its own; without one no disk is filled
   */
  constructor(count: number, options: { readonly smallDisk?: string | undefined } = {}) {
    this.#unopened = count;
    this.#smallDisk = options.smallDisk;
    // Each process of a site is ended with this one.
    process.setMaxListeners(process.getMaxListeners() + count * processesOfSite);
  }

  /** Runs a plan on the next site that is free. @throws Error that says what is wrong; the site is replaced then */
  async run(plan: ChaosPlan): Promise<ChaosVerdict> {
    const site = await this.#take();
    try {
      const verdict = await this.#runOn(site, plan);
      this.#giveBack(site);
      return verdict;
    } catch (error) {
      // What it left is none of the next one's troubles.
      await site[Symbol.asyncDispose]();
      this.#giveUp();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#free.splice(0).map((site) => site[Symbol.asyncDispose]()));
  }

  async #runOn(site: ChaosSite, plan: ChaosPlan): Promise<ChaosVerdict> {
    const fillsDisk = plan.duringRestore.some(({ trouble }) => trouble.kind === 'fill-disk');
    if (!fillsDisk || this.#smallDisk === undefined) return await runPlan(site, plan);
    const smallDisk = this.#smallDisk;
    const run = this.#smallDiskIsFree.then(() => runPlan(site, plan, smallDisk));
    this.#smallDiskIsFree = run.catch(() => undefined);
    return await run;
  }

  async #take(): Promise<ChaosSite> {
    for (;;) {
      const site = this.#free.pop();
      if (site !== undefined) return site;
      if (this.#unopened > 0) return await this.#open();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async #open(): Promise<ChaosSite> {
    this.#unopened -= 1;
    const opened = this.#opening.then(() => ChaosSite.open());
    this.#opening = opened.catch(() => undefined);
    return await opened;
  }

  #giveBack(site: ChaosSite): void {
    this.#free.push(site);
    this.#waiting.shift()?.();
  }

  /** Another site takes its place. */
  #giveUp(): void {
    this.#unopened += 1;
    this.#waiting.shift()?.();
  }
}
