/** Stock WAL-G, at its best settings for two cores and a store that is near. */
import { chmod, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Measurement, measureCommand } from '../measure/measure.ts';
import type { UsageScope } from '../measure/usage-watch.ts';
import { type BenchSite, keysUnder, removeObjects } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { Peer, WalAccess, WholeRestore } from './peer.ts';
import { restoreByScript } from './whole-restore.ts';

/** What it offers for speed; brotli and lzma are slower by far. */
export type WalgCompression = 'lz4' | 'zstd';

/**
 * Tuned here: parts of 1 GiB, its default, leave one core idle; two disk readers and four uploads keep both busy. Page checksums are off,
 * which is its default and faster. Everything else is as it comes.
 */
const tuning = {
  WALG_TAR_SIZE_THRESHOLD: String(128 * 1024 * 1024),
  WALG_UPLOAD_DISK_CONCURRENCY: '2',
  WALG_UPLOAD_CONCURRENCY: '4',
  WALG_DOWNLOAD_CONCURRENCY: '8',
} as const;

/** Makes the contestant. */
export async function createWalg(site: BenchSite, program: string, compression: WalgCompression): Promise<Peer> {
  const configFile = join(site.peersDirectory, `wal-g-${compression}.json`);
  const walg = new Walg(site, { program, compression, configFile });
  await walg.configure();
  return walg;
}

class Walg implements Peer {
  readonly name = 'wal-g';
  readonly variant: WalgCompression;
  readonly needsArchiving = false;
  readonly archiveUsage: UsageScope;
  readonly #site: BenchSite;
  readonly #program: string;
  readonly #configFile: string;
  readonly #prefix: string;

  constructor(site: BenchSite, setup: { readonly program: string; readonly compression: WalgCompression; readonly configFile: string }) {
    this.#site = site;
    this.#program = setup.program;
    this.#configFile = setup.configFile;
    this.variant = setup.compression;
    this.#prefix = `wal-g-${setup.compression}`;
    // Its prefetch detaches itself from wal-fetch.
    this.archiveUsage = { detached: { names: new Set(['wal-g']), mark: setup.configFile } };
  }

  async configure(): Promise<void> {
    const { s3, source } = this.#site;
    const configuration = {
      WALG_S3_PREFIX: s3.url(this.#prefix),
      ...s3.environment,
      AWS_S3_FORCE_PATH_STYLE: 'true',
      PGHOST: source.server.host,
      PGPORT: String(source.server.port),
      PGUSER: source.server.user,
      PGDATABASE: source.server.database,
      WALG_COMPRESSION_METHOD: this.variant,
      WALG_LOG_DESTINATION: 'stderr',
      ...tuning,
    };
    await writeFile(this.#configFile, JSON.stringify(configuration), { mode: 0o600 });
  }

  async pushBaseBackup(): Promise<Measurement> {
    await removeObjects(this.#site, `${this.#prefix}/`);
    return await this.#run('backup-push', this.#site.source.dataDirectory);
  }

  fetchBaseBackup(into: string): Promise<Measurement> {
    return this.#run('backup-fetch', into, 'LATEST');
  }

  get archiveCommand(): string {
    return `${this.#program} --config ${this.#configFile} wal-push "%p"`;
  }

  async forgetWal(names: readonly string[]): Promise<void> {
    await removeObjects(this.#site, this.#walPrefix, (key) => names.some((name) => key.startsWith(`${this.#walPrefix}${name}`)));
  }

  async heldWal(names: readonly string[]): Promise<readonly string[]> {
    const held = new Set((await keysUnder(this.#site, this.#walPrefix)).map((key) => key.slice(this.#walPrefix.length).split('.')[0]));
    return names.filter((name) => held.has(name));
  }

  async openWal(): Promise<WalAccess> {
    const restoreCommand = `${this.#program} --config ${this.#configFile} wal-fetch "%f" "%p"`;
    return { restoreCommand, usage: this.archiveUsage, close: async () => undefined };
  }

  async restoreAll(restore: WholeRestore): Promise<Measurement> {
    const fetch = `"${this.#program}" --config "${this.#configFile}" backup-fetch "$DIR" LATEST && chmod 700 "$DIR"`;
    const { restoreCommand } = await this.openWal();
    return await restoreByScript(this.#site, restore, { fetch, restoreCommand });
  }

  get #walPrefix(): string {
    return `${this.#prefix}/wal_005/`;
  }

  async #run(...args: readonly string[]): Promise<Measurement> {
    const measurement = await measureCommand(this.#program, ['--config', this.#configFile, ...args], {
      env: baseEnvironment(),
      cwd: dirname(this.#configFile),
    });
    if (args[0] === 'backup-fetch' && args[1] !== undefined) await chmod(args[1], 0o700);
    return measurement;
  }
}
