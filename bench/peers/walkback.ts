/** Ours, as in production: a real agent and a real worker beside a real Temporal, with the defaults of the configuration. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { restoreCommand } from '../../src/agent/commands.ts';
import { type RestoreRegistration, restoreRegistrationSchema } from '../../src/agent/registration.ts';
import { openRegistrationFiles } from '../../src/agent/registration-files.ts';
import { prefetchDirectoryOf } from '../../src/agent/restore/restore-fetcher.ts';
import { demoCluster, demoHost, type DemoProcess } from '../../src/demo/demo-site.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { readControlData } from '../../src/postgres/control-data.ts';
import { type Measurement, measureWork } from '../measure/measure.ts';
import { Resident } from '../measure/resident.ts';
import type { UsageScope } from '../measure/usage-watch.ts';
import { type BenchSite, keysUnder, removeObjects } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { BenchWal } from '../site/source.ts';
import type { Peer, WalAccess, WholeRestore } from './peer.ts';

/** Steps of the backup's workflow that are not waiting for WAL to be archived. */
const backupSteps: ReadonlySet<string> = new Set(['copy-files', 'complete']);
/** Steps of a restore that fetch, replay, or start and stop PostgreSQL. */
const stepsOfOthers: ReadonlySet<string> = new Set(['fetch-base-backup', 'start-postgres', 'await-recovery', 'open-to-clients']);

/** Ours, and what the site has to know of it. */
export interface Walkback extends Peer, AsyncDisposable {
  /** The first segment that its base backup needs. */
  readonly backupSegment: string;
}

/** Makes the contestant: archiving is enabled, as `walkback enable` does it. */
export async function createWalkback(site: BenchSite): Promise<Walkback> {
  const handle = await site.demo.client.startEnable({ cluster: demoCluster, allowRestart: true });
  await handle.result();
  site.source.noteArchiveMode('on');
  return new OwnSite(site, await site.source.archiveCommand());
}

class OwnSite implements Walkback {
  readonly name = 'walkback';
  readonly variant = '';
  readonly needsArchiving = true;
  readonly archiveCommand: string;
  readonly archiveUsage: UsageScope;
  readonly #site: BenchSite;
  readonly #prefix = `${demoCluster}/`;
  #agent: DemoProcess;
  #fetcher: Resident | undefined;
  #backup: string | undefined;
  #restoreCount = 0;

  constructor(site: BenchSite, archiveCommand: string) {
    this.#site = site;
    this.#agent = site.demo.agent;
    this.archiveCommand = archiveCommand;
    this.archiveUsage = { residents: () => [this.#agent.child.pid ?? 0] };
  }

  get backupSegment(): string {
    return this.#backupName.slice('base_'.length);
  }

  /** Through the workflow; what is measured are its steps, with Temporal between them, but for the waiting for WAL. */
  async pushBaseBackup(): Promise<Measurement> {
    await this.#site.source.setArchiveCommand(this.archiveCommand);
    const { measurement, result } = await measureWork(this.archiveUsage, async () => {
      const handle = await this.#site.demo.client.startBackup({ cluster: demoCluster });
      return await handle.result();
    });
    await this.#site.source.setArchiveCommand('');
    this.#backup = result.backup.name;
    const counted = result.steps.filter(({ name }) => backupSteps.has(name));
    return { ...measurement, seconds: counted.reduce((total, { milliseconds }) => total + milliseconds, 0) / 1000 };
  }

  /** By a process that stays between the runs, as the agent does: its first run is slower than the others, and the median of several counts. */
  async fetchBaseBackup(into: string): Promise<Measurement> {
    await mkdir(into, { mode: 0o700 });
    const fetcher = (this.#fetcher ??= this.#startFetcher());
    const { measurement, result } = await measureWork({ residents: () => [fetcher.pid] }, async () =>
      fetcher.ask({ archiveUrl: this.#archiveUrl, backup: this.#backupName, into }),
    );
    return { ...measurement, ...(result as { seconds: number }) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fetcher?.[Symbol.asyncDispose]();
  }

  #startFetcher(): Resident {
    const program = fileURLToPath(new URL('../ours/fetch-base-backup.ts', import.meta.url));
    const { environment, directory } = this.#site.demo;
    return new Resident(process.execPath, [program], { env: { ...baseEnvironment(), ...environment }, cwd: directory });
  }

  async forgetWal(names: readonly string[]): Promise<void> {
    await removeObjects(this.#site, this.#walPrefix, (key) => names.some((name) => key.startsWith(`${this.#walPrefix}${name}`)));
  }

  async heldWal(names: readonly string[]): Promise<readonly string[]> {
    const held = new Set((await keysUnder(this.#site, this.#walPrefix)).map((key) => key.slice(this.#walPrefix.length).split('.')[0]));
    return names.filter((name) => held.has(name));
  }

  /** The agent serves a restore that it finds registered when it starts. */
  async openWal(dataDirectory: string, wal: BenchWal): Promise<WalAccess> {
    this.#restoreCount += 1;
    const restoreId = `bench-${this.#restoreCount}`;
    await this.#register(restoreId, dataDirectory, wal);
    const prefetchDirectory = prefetchDirectoryOf(dataDirectory);
    await mkdir(prefetchDirectory, { recursive: true, mode: 0o700 });
    await this.#restartAgent();
    const socketPath = join(this.#stateDirectory, 'agent.sock');
    return {
      restoreCommand: restoreCommand({ socketPath, restoreId, prefetchDirectory }),
      usage: this.archiveUsage,
      close: async () => this.#registrations.remove(restoreId),
    };
  }

  /** Through the workflow, until clients can connect and write: the report, which is stored then, keeps nobody waiting. */
  async restoreAll(restore: WholeRestore): Promise<Measurement> {
    const { measurement, report } = await this.#restore(restore);
    const reporting = report.steps.filter(({ name }) => name === 'report').reduce((total, { milliseconds }) => total + milliseconds, 0);
    return { ...measurement, seconds: measurement.seconds - reporting / 1000 };
  }

  async orchestrate(restore: WholeRestore): Promise<Measurement> {
    const { measurement, report } = await this.#restore(restore);
    const others = report.steps.filter(({ name }) => stepsOfOthers.has(name)).reduce((total, { milliseconds }) => total + milliseconds, 0);
    return { ...measurement, seconds: measurement.seconds - others / 1000 };
  }

  async #restore({ dataDirectory, port, wal }: WholeRestore): Promise<{ measurement: Measurement; report: LandingReport }> {
    this.#site.demo.restored.push(dataDirectory);
    this.#restoreCount += 1;
    const request = {
      cluster: demoCluster,
      name: `bench-total-${this.#restoreCount}`,
      host: demoHost,
      target: { kind: 'time', time: wal.target },
      dataDirectory,
      port,
    } as const;
    const { measurement, result } = await measureWork(this.archiveUsage, async () => {
      const handle = await this.#site.demo.client.startRestore(request);
      return await handle.result();
    });
    return { measurement, report: result };
  }

  get #backupName(): string {
    if (this.#backup === undefined) throw new Error('no base backup was taken yet');
    return this.#backup;
  }

  get #archiveUrl(): string {
    return this.#site.s3.url(demoCluster);
  }

  get #walPrefix(): string {
    return `${this.#prefix}wal_005/`;
  }

  get #stateDirectory(): string {
    return join(this.#site.demo.directory, 'agent');
  }

  get #registrations(): ReturnType<typeof openRegistrationFiles<RestoreRegistration>> {
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return openRegistrationFiles(join(this.#stateDirectory, 'restores'), { schema: restoreRegistrationSchema, log });
  }

  async #register(restoreId: string, dataDirectory: string, wal: BenchWal): Promise<void> {
    const all = [...wal.earlier, ...wal.names];
    const [first, last] = [all.at(0) ?? '', all.at(-1) ?? ''];
    const { systemIdentifier } = await readControlData(dataDirectory);
    const view = { segments: [{ timeline: 1, first, last }], histories: [] };
    const registration = { restoreId, archiveUrl: this.#archiveUrl, dataDirectory, systemIdentifier, view };
    await this.#registrations.save(restoreId, restoreRegistrationSchema.parse(registration));
  }

  async #restartAgent(): Promise<void> {
    await this.#agent.stop();
    this.#agent = await this.#site.demo.start('agent');
  }
}
