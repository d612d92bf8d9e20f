/** The site that chaos runs on: everything of it can be killed, and comes back where it was. */
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startTemporalDevServer, type TemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import type { Fault } from '../../src/demo/s3-server/faults.ts';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { startServer } from '../../src/postgres/process-control.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Scene } from '../integration/faults/scene.ts';
import type { PlannedTrouble, StoreFault, Trouble } from './chaos-plan.ts';

const faults: Readonly<Record<StoreFault, Fault>> = {
  'slow-down': { kind: 'error', code: 'SlowDown' },
  'internal-error': { kind: 'error', code: 'InternalError' },
  reset: { kind: 'reset-before-answer' },
  'lost-answer': { kind: 'lose-answer' },
  'cut-body': { kind: 'reset-mid-body', afterBytes: 1000 },
  'truncated-body': { kind: 'truncate', afterBytes: 1000 },
  'corrupt-body': { kind: 'corrupt', atByte: 500 },
  slow: { kind: 'delay', delayMs: 400 },
};
/** A server that is to be killed has to be there. */
const postgresComesWithinMs = 5000;
const startTimeoutMs = 60_000;
const ballastBytes = 16 * 1024 * 1024;

type Mortal = 'worker' | 'agent' | 'temporal' | 'postgres';

export class ChaosSite implements AsyncDisposable {
  readonly scene: Scene;
  /** Where restores go; undefined: into the site's own directory. */
  readonly smallDisk: string | undefined;
  readonly #directory: string;
  #temporal: TemporalDevServer;
  /** Of each process, what is being done to it: one thing after the other. */
  readonly #deeds = new Map<Mortal, Promise<void>>();
  #storeFault: { readonly fault: Fault; left: number } | undefined;

  private constructor(scene: Scene, parts: { directory: string; temporal: TemporalDevServer; smallDisk: string | undefined }) {
    this.scene = scene;
    this.#directory = parts.directory;
    this.#temporal = parts.temporal;
    this.smallDisk = parts.smallDisk;
  }

  static async open(options: { readonly smallDisk?: string | undefined } = {}): Promise<ChaosSite> {
    const directory = await mkdtemp(join(tmpdir(), 'walkback-chaos-'));
    const temporal = await startTemporal(directory);
    try {
      const scene = await Scene.open({ startTemporal: async () => temporal });
      return new ChaosSite(scene, { directory, temporal, smallDisk: options.smallDisk });
    } catch (error) {
      await temporal.close();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * Lets the troubles come, each at its time, until the returned function is called: then everything is whole again.
   * @param dataDirectory whose PostgreSQL is killed: the source's is started again, a restore's is for the restore to start
   */
  unleash(planned: readonly PlannedTrouble[], dataDirectory: string): () => Promise<void> {
    const ended = new AbortController();
    const waiting = planned.flatMap(({ trouble, at }) => ('request' in at ? [{ trouble, request: at.request }] : []));
    const deeds: Promise<void>[] = [];
    let requests = 0;
    const begin = (trouble: Trouble) => void deeds.push(this.#make(trouble, dataDirectory, ended.signal));
    this.scene.store.make(() => {
      requests += 1;
      for (const { trouble, request } of waiting) if (request === requests) begin(trouble);
      return this.#faultOfRequest();
    });
    for (const { trouble, at } of planned) {
      if (!('afterMs' in at)) continue;
      const timed = delay(at.afterMs, undefined, { signal: ended.signal }).then(
        () => begin(trouble),
        () => undefined,
      );
      deeds.push(timed);
    }
    return async () => {
      ended.abort();
      this.#storeFault = undefined;
      this.scene.store.end();
      while (deeds.length > 0) await deeds.shift();
      await Promise.all(this.#deeds.values());
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#deeds.values());
    await this.scene[Symbol.asyncDispose]();
    await this.#temporal.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #faultOfRequest(): Fault | undefined {
    const trouble = this.#storeFault;
    if (trouble === undefined || trouble.left === 0) return undefined;
    trouble.left -= 1;
    return trouble.fault;
  }

  async #make(trouble: Trouble, dataDirectory: string, ended: AbortSignal): Promise<void> {
    switch (trouble.kind) {
      case 'store':
        this.#storeFault = { fault: faults[trouble.fault], left: trouble.requestCount };
        return;
      case 'kill-postgres':
        return await this.#inTurn('postgres', () => this.#killPostgres(dataDirectory, ended));
      case 'fill-disk':
        return await this.#fillDisk(trouble.forMs, ended);
      default:
        return await this.#inTurn(trouble.who, () => this.#end(trouble));
    }
  }

  async #inTurn(who: Mortal, deed: () => Promise<void>): Promise<void> {
    const turn = (this.#deeds.get(who) ?? Promise.resolve()).then(deed);
    this.#deeds.set(who, turn);
    await turn;
  }

  async #killPostgres(dataDirectory: string, ended: AbortSignal): Promise<void> {
    await killPostgres(dataDirectory, ended);
    const { installation, source, directory } = this.scene.site;
    if (dataDirectory !== source.dataDirectory) return;
    const { binDirectory } = installation;
    const logFile = join(directory, 'source-again.log');
    await startServer({ binDirectory, dataDirectory, logFile, timeoutMs: startTimeoutMs, until: 'accepting' });
  }

  async #end(trouble: Extract<Trouble, { who: Mortal }>): Promise<void> {
    if (trouble.who === 'temporal') return await this.#restartTemporal(trouble.awayMs);
    const { who } = trouble;
    await (trouble.kind === 'stop' ? this.scene.stop(who) : this.scene.kill(who));
    if (trouble.kind !== 'clock') await delay(trouble.awayMs);
    await this.scene.start(who, trouble.kind === 'clock' ? { NODE_OPTIONS: shiftedClock(trouble.shiftMs) } : {});
  }

  async #restartTemporal(awayMs: number): Promise<void> {
    const { pid } = this.#temporal;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await this.#temporal.close();
    await delay(awayMs);
    this.#temporal = await startTemporal(this.#directory, Number(this.#temporal.address.split(':')[1]));
  }

  async #fillDisk(forMs: number, ended: AbortSignal): Promise<void> {
    if (this.smallDisk === undefined) return;
    const ballast = join(this.smallDisk, 'ballast');
    const { bavail, bsize } = await statfs(this.smallDisk);
    const pieces = Math.floor((bavail * bsize) / ballastBytes) + 1;
    try {
      for (let piece = 0; piece < pieces && !ended.aborted; piece += 1) {
        await writeFile(`${ballast}-${piece}`, Buffer.alloc(ballastBytes, piece)).catch(() => undefined);
      }
      await delay(forMs, undefined, { signal: ended }).catch(() => undefined);
    } finally {
      for (let piece = 0; piece < pieces; piece += 1) await rm(`${ballast}-${piece}`, { force: true });
    }
  }
}

/** Keeps its workflows in a file, so that a killed one comes back with them. */
async function startTemporal(directory: string, port?: number): Promise<TemporalDevServer> {
  return await startTemporalDevServer({
    searchAttributes: searchAttributeTypes,
    uiPort: false,
    databaseFile: join(directory, 'temporal.db'),
    ...(port === undefined ? {} : { port }),
  });
}

/** The postmaster of whatever server runs there, in recovery or behind it. */
async function killPostgres(dataDirectory: string, ended: AbortSignal): Promise<void> {
  const running = async () => (ended.aborted ? true : ((await serverState(dataDirectory)).pid ?? false));
  const pid = await waitUntil(running, { timeoutMs: postgresComesWithinMs, description: 'a server runs' }).catch(() => true as const);
  if (pid === true) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
  await waitUntil(async () => (await serverState(dataDirectory)).pid !== pid, { description: 'the server is dead' });
}

/** Node's own clock, in the process alone. */
function shiftedClock(shiftMs: number): string {
  const code = `const Real=Date;const now=Real.now.bind(Real);globalThis.Date=class extends Real{constructor(...given){given.length===0?super(now()+${shiftMs}):super(...given)}static now(){return now()+${shiftMs}}}`;
  return `--import data:text/javascript,${encodeURIComponent(code)}`;
}
