/** The site that chaos runs on: everything of it can be killed, and comes back where it was. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { demoCluster } from '../../src/demo/demo-site.ts';
import { startTemporalDevServer, type TemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import type { BodyPlace, Fault } from '../../src/demo/s3-server/faults.ts';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { startServer } from '../../src/postgres/process-control.ts';
import { serverState } from '../../src/postgres/server-state.ts';
import { killProcess } from '../harness/processes.ts';
import { fillDisk } from '../harness/small-disk.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Scene } from '../integration/faults/scene.ts';
import { installLaterVersion } from './next-version.ts';
import { setClock, settableClock } from './clock-file.ts';
import type { PlannedTrouble, StoreFault, Trouble } from './chaos-plan.ts';

const faults: Readonly<Record<StoreFault, (place: BodyPlace) => Fault>> = {
  'slow-down': () => ({ kind: 'error', code: 'SlowDown' }),
  'internal-error': () => ({ kind: 'error', code: 'InternalError' }),
  reset: () => ({ kind: 'reset-before-answer' }),
  'lost-answer': () => ({ kind: 'lose-answer' }),
  'cut-body': (place) => ({ kind: 'reset-mid-body', afterBytes: place }),
  'truncated-body': (place) => ({ kind: 'truncate', afterBytes: place }),
  'corrupt-body': (place) => ({ kind: 'corrupt', atByte: place }),
  slow: () => ({ kind: 'delay', delayMs: 400 }),
  stall: (place) => ({ kind: 'stall-mid-body', afterBytes: place }),
};
/** A server that is to be killed has to be there. */
const postgresComesWithinMs = 5000;
const startTimeoutMs = 60_000;
const runsOfBackup = 4;
/** The small disk holds a restore, and little more. */
const environment = { WALKBACK_HOST_FREE_DISK_MARGIN_MIB: '16' };

/** Whose PostgreSQL is killed, and which disk is filled. */
interface Victims {
  readonly dataDirectory: string;
  readonly smallDisk: string | undefined;
}

type Mortal = 'worker' | 'agent' | 'temporal' | 'postgres';

export class ChaosSite implements AsyncDisposable {
  readonly scene: Scene;
  readonly #directory: string;
  #temporal: TemporalDevServer;
  /** Of each process, what is being done to it: one thing after the other. */
  readonly #deeds = new Map<Mortal, Promise<void>>();
  /** Of each process, the main.ts of the version that it was upgraded to. */
  readonly #programs = new Map<'worker' | 'agent', string>();
  readonly #upgrades = new Map<'worker' | 'agent', number>();
  #runsSinceBackup = 0;
  #storeFault: { readonly fault: Fault; left: number } | undefined;

  private constructor(scene: Scene, parts: { directory: string; temporal: TemporalDevServer }) {
    this.scene = scene;
    this.#directory = parts.directory;
    this.#temporal = parts.temporal;
  }

  static async open(): Promise<ChaosSite> {
    const directory = await mkdtemp(join(tmpdir(), 'walkback-chaos-'));
    const temporal = await startTemporal(directory);
    try {
      const clocks = settableClock(clockFileOf(directory));
      const scene = await Scene.open({ startTemporal: async () => temporal, environment: { ...environment, ...clocks } });
      return new ChaosSite(scene, { directory, temporal });
    } catch (error) {
      await temporal.close();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * A base backup without troubles now and then, so that a run does not replay the WAL of all runs before it.
   * @param options `now`: this run needs a restore that is small
   */
  async refreshBackup({ now }: { readonly now: boolean }): Promise<void> {
    this.#runsSinceBackup += 1;
    if (!now && this.#runsSinceBackup <= runsOfBackup) return;
    await (await this.scene.site.client.startBackup({ cluster: demoCluster })).result();
    this.#runsSinceBackup = 0;
  }

  /**
   * Lets the troubles come, each at its time, until the returned function is called: then everything is whole again.
   * @param dataDirectory whose PostgreSQL is killed: the source's is started again, a restore's is for the restore to start
   * @param smallDisk the disk that is filled; without one that trouble is passed over
   */
  unleash(planned: readonly PlannedTrouble[], dataDirectory: string, smallDisk?: string): () => Promise<void> {
    const ended = new AbortController();
    const waiting = planned.flatMap(({ trouble, at }) => ('request' in at ? [{ trouble, request: at.request }] : []));
    const deeds: Promise<void>[] = [];
    let requests = 0;
    const begin = (trouble: Trouble) => {
      const deed = this.#make(trouble, { dataDirectory, smallDisk }, ended.signal);
      // One that fails is told when everything is healed.
      deed.catch(() => undefined);
      deeds.push(deed);
    };
    this.scene.store.make(({ operation }) => {
      requests += 1;
      for (const { trouble, request } of waiting) if (request === requests) begin(trouble);
      return this.#faultOfRequest(operation);
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
      for (const who of ['worker', 'agent']) await setClock(clockFileOf(this.#directory), who, 0);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#deeds.values());
    await this.scene[Symbol.asyncDispose]();
    await this.#temporal.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #faultOfRequest(operation: string): Fault | undefined {
    const trouble = this.#storeFault;
    if (trouble === undefined || trouble.left === 0) return undefined;
    // There are few stalls: they are kept for answers that can stall.
    if (trouble.fault.kind === 'stall-mid-body' && operation !== 'GetObject') return undefined;
    trouble.left -= 1;
    return trouble.fault;
  }

  async #make(trouble: Trouble, { dataDirectory, smallDisk }: Victims, ended: AbortSignal): Promise<void> {
    switch (trouble.kind) {
      case 'store':
        this.#storeFault = { fault: faults[trouble.fault]({ share: trouble.bodyShare }), left: trouble.requestCount };
        return;
      case 'kill-postgres':
        return await this.#inTurn('postgres', () => this.#killPostgres(dataDirectory, ended));
      case 'clock':
        return await this.#jump(trouble, ended);
      case 'fill-disk':
        return smallDisk === undefined ? undefined : await fillAndFree(smallDisk, trouble.forMs, ended);
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

  /** Whatever else is done to the process: one that is started meanwhile has that clock too. */
  async #jump({ who, shiftMs, forMs }: Extract<Trouble, { kind: 'clock' }>, ended: AbortSignal): Promise<void> {
    const file = clockFileOf(this.#directory);
    await setClock(file, who, shiftMs);
    await delay(forMs, undefined, { signal: ended }).catch(() => undefined);
    if (!ended.aborted) await setClock(file, who, -shiftMs);
  }

  async #end(trouble: Exclude<Extract<Trouble, { who: Mortal }>, { kind: 'clock' }>): Promise<void> {
    if (trouble.who === 'temporal') return await this.#restartTemporal(trouble.awayMs);
    const { who } = trouble;
    await (trouble.kind === 'stop' || trouble.kind === 'upgrade' ? this.scene.stop(who) : this.scene.kill(who));
    await delay(trouble.awayMs);
    if (trouble.kind === 'upgrade') return await this.#startLaterVersion(who);
    await this.scene.start(who, {}, this.#programs.get(who));
  }

  async #startLaterVersion(who: 'worker' | 'agent'): Promise<void> {
    const step = (this.#upgrades.get(who) ?? 0) + 1;
    this.#upgrades.set(who, step);
    const { version, program } = await installLaterVersion(join(this.#directory, `later-${who}`), step);
    this.#programs.set(who, program);
    await this.scene.start(who, {}, program);
    const word = `walkback ${who} is ready, version ${version}`;
    await waitUntil(async () => (await this.scene.logOf(who)).includes(word), { description: `the log says that ${word}` });
  }

  async #restartTemporal(awayMs: number): Promise<void> {
    const { pid } = this.#temporal;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await this.#temporal.close();
    await delay(awayMs);
    this.#temporal = await startTemporal(this.#directory, Number(this.#temporal.address.split(':')[1]));
  }
}

async function fillAndFree(smallDisk: string, forMs: number, ended: AbortSignal): Promise<void> {
  const free = await fillDisk(smallDisk, () => ended.aborted);
  try {
    await delay(forMs, undefined, { signal: ended }).catch(() => undefined);
  } finally {
    await free();
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
  killProcess(pid);
  await waitUntil(async () => (await serverState(dataDirectory)).pid !== pid, { description: 'the server is dead' });
}

function clockFileOf(directory: string): string {
  return join(directory, 'clock');
}
