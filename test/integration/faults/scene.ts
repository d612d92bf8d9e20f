/** A source whose WAL is archived, with a base backup, on a site whose store makes troubles and whose processes may be killed. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RestoreHandle } from '../../../src/client/handles.ts';
import {
  demoAdmin,
  demoCluster,
  demoHost,
  type DemoProcess,
  type DemoSite,
  type DemoSiteOptions,
  startDemoSite,
} from '../../../src/demo/demo-site.ts';
import { freePort } from '../../../src/demo/local-services/free-port.ts';
import { startLocalS3 } from '../../../src/demo/local-services/local-s3.ts';
import { type Instant, parseInstant } from '../../../src/domain/instant.ts';
import type { LandingReport } from '../../../src/domain/landing-report.ts';
import type { RestoreRequest } from '../../../src/domain/restore-request.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { serverState, type ServerState } from '../../../src/postgres/server-state.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import { StoreTroubles } from './store-troubles.ts';

/** What may be chosen. */
export interface SceneOptions extends Pick<DemoSiteOptions, 'settings' | 'pageChecksums' | 'startTemporal'> {
  /** Options of walkback.yaml, as variables. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Statements before archiving begins; what they write is in the base backup and not in the archived WAL. */
  readonly fill?: readonly string[];
}

/** A restore that was asked for. */
export interface StartedRestore {
  readonly handle: RestoreHandle;
  readonly request: RestoreRequest;
}

/** All rows of the table `events` in one text. */
const fingerprintSql = `SELECT count(*) || ' ' || coalesce(md5(string_agg(n || note, ',' ORDER BY n)), '') FROM events`;
const phaseTimeoutMs = 60_000;

export class Scene implements AsyncDisposable {
  readonly site: DemoSite;
  readonly store: StoreTroubles;
  readonly #processes: Record<'agent' | 'worker', DemoProcess>;
  #lastEvent = 0;

  private constructor(site: DemoSite, store: StoreTroubles) {
    this.site = site;
    this.store = store;
    this.#processes = { agent: site.agent, worker: site.worker };
  }

  /** Starts the site, fills the source, switches archiving on and takes a base backup. */
  static async open({ environment = {}, fill = [], ...options }: SceneOptions = {}): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    // A site with a store of its own: one that the environment names makes no troubles on request.
    const site = stack.use(await startDemoSite({ ...options, withUi: false, environment, startS3: () => startLocalS3({}) }));
    const { server } = site.s3;
    if (server === undefined) throw new Error('the site has no S3 server of its own');
    const scene = new Scene(site, new StoreTroubles(server));
    await scene.source(`CREATE TABLE events (n int PRIMARY KEY, note text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())`);
    for (const statement of fill) await scene.source(statement);
    await (await site.client.startEnable({ cluster: demoCluster, allowRestart: true })).result();
    await scene.writeSegments(1);
    await (await site.client.startBackup({ cluster: demoCluster })).result();
    stack.move();
    return scene;
  }

  /** One statement on the source. */
  async source<Row extends object>(sql: string): Promise<Row[]> {
    await using connection = await connectServer(this.site.source.server);
    return await connection.query<Row>(sql);
  }

  /** Writes a row into each of so many segments, and closes them. @returns their names, in order */
  async writeSegments(count: number): Promise<string[]> {
    const names: string[] = [];
    await using connection = await connectServer(this.site.source.server);
    for (let written = 0; written < count; written += 1) {
      this.#lastEvent += 1;
      await connection.query(`INSERT INTO events VALUES (${this.#lastEvent}, 'in a segment of its own')`);
      const [row] = await connection.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name');
      names.push(row!.name);
    }
    return names;
  }

  /** Waits until the file is in the archive, by the word of PostgreSQL. */
  async untilArchived(name: string): Promise<void> {
    await waitUntil(
      async () => {
        const rows = await this.source(`SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= '${name}'`);
        return rows.length > 0;
      },
      { timeoutMs: phaseTimeoutMs, description: `${name} is archived` },
    );
  }

  /** By the clock of the source, between two commits; with what the table held then. A row is committed right after it. */
  async noteTarget(): Promise<{ readonly time: Instant; readonly rows: string }> {
    const rows = await this.rowsOfSource();
    const [row] = await this.source<{ now: string }>(`SELECT clock_timestamp()::text AS now, pg_sleep(0.05)`);
    await this.writeRowAfterTarget();
    return { time: parseInstant(row!.now), rows };
  }

  /** A row that no restore to an earlier instant may hold. */
  async writeRowAfterTarget(): Promise<void> {
    this.#lastEvent += 1;
    await this.source(`INSERT INTO events VALUES (${this.#lastEvent}, 'after the target')`);
  }

  async rowsOfSource(): Promise<string> {
    return await this.valueOfSource(fingerprintSql);
  }

  /** The first value of a query on the source. */
  async valueOfSource(sql: string): Promise<string> {
    await using connection = await connectServer(this.site.source.server);
    return (await connection.queryFirstValue(sql)) ?? '';
  }

  /** Rows of a cluster that was restored and is open. */
  async rowsOf(report: LandingReport): Promise<string> {
    return await this.valueOf(report, fingerprintSql);
  }

  /** Rows of whatever server answers there to its superuser. */
  async rowsAt(place: Pick<LandingReport, 'socketDirectory' | 'port'>): Promise<string> {
    return await this.valueOf(place, fingerprintSql);
  }

  /** The first value of a query on a cluster that was restored and is open. */
  async valueOf({ socketDirectory, port }: Pick<LandingReport, 'socketDirectory' | 'port'>, sql: string): Promise<string> {
    await using connection = await connectServer({ host: socketDirectory, port, user: demoAdmin, database: 'postgres' });
    return (await connection.queryFirstValue(sql)) ?? '';
  }

  /** Starts a restore of the source. The data directory is named as the cluster unless the request says otherwise. */
  async restore(wanted: Pick<RestoreRequest, 'name' | 'target'> & Partial<RestoreRequest>): Promise<StartedRestore> {
    const dataDirectory = join(this.site.directory, wanted.name);
    const request = { cluster: demoCluster, host: demoHost, dataDirectory, port: await freePort(), ...wanted };
    this.site.restored.push(request.dataDirectory);
    return { handle: await this.site.client.startRestore(request), request };
  }

  async kill(name: 'agent' | 'worker'): Promise<void> {
    await this.#processes[name].stop('SIGKILL');
  }

  /** Stands still until it goes on: SIGSTOP, as a host that hangs. */
  freeze(name: 'agent' | 'worker'): () => void {
    const { child } = this.#processes[name];
    child.kill('SIGSTOP');
    return () => void child.kill('SIGCONT');
  }

  /** Asks it to end, as systemd would. */
  async stop(name: 'agent' | 'worker'): Promise<void> {
    await this.#processes[name].stop('SIGTERM');
  }

  /** @param program the main.ts of another version. Default: this one's */
  async start(name: 'agent' | 'worker', environment: Readonly<Record<string, string>> = {}, program?: string): Promise<void> {
    this.#processes[name] = await this.site.start(name, environment, program);
  }

  /** What it has said on stderr, over all its starts. */
  async logOf(name: 'agent' | 'worker'): Promise<string> {
    return await readFile(this.#processes[name].logFile, 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.store[Symbol.dispose]();
    await this.site[Symbol.asyncDispose]();
  }
}

/** Waits until the restore has entered a phase. */
export async function untilPhase(handle: RestoreHandle, phase: string): Promise<void> {
  await waitUntil(async () => (await handle.progress()).phase === phase, {
    timeoutMs: phaseTimeoutMs,
    description: `the restore is in the phase ${phase}`,
  });
}

/** Waits until PostgreSQL has taken a WAL file from the archive, by its own log of that start. */
export async function untilReplayed(dataDirectory: string, file: string, startNumber = 1): Promise<void> {
  const line = new RegExp(`restored log file \\W+${file}`);
  await waitUntil(async () => line.test(await recoveryLog(dataDirectory, startNumber)), {
    timeoutMs: phaseTimeoutMs,
    description: `${file} is restored`,
  });
}

/** PostgreSQL's log of one start of a directory in recovery; empty before that start. */
export async function recoveryLog(dataDirectory: string, startNumber: number): Promise<string> {
  const directory = join(dataDirectory, 'walkback_restore', 'log');
  const texts = await Promise.allSettled(
    [`start-${startNumber}.json`, `start-${startNumber}.csv`].map((name) => readFile(join(directory, name), 'utf8')),
  );
  return texts.map((text) => (text.status === 'fulfilled' ? text.value : '')).join('');
}

/** Waits until a server is up on the directory. */
export async function untilServer(dataDirectory: string): Promise<ServerState & { readonly pid: number }> {
  return await waitUntil(
    async () => {
      const state = await serverState(dataDirectory);
      return state.pid === undefined ? undefined : { ...state, pid: state.pid };
    },
    { timeoutMs: phaseTimeoutMs, description: `a server runs on ${dataDirectory}` },
  );
}

/** The step of that name in a report. */
export function stepOf(report: LandingReport, name: string): LandingReport['steps'][number] | undefined {
  return report.steps.find((step) => step.name === name);
}
