/** pgBackRest, at its best settings for two cores. It speaks HTTPS only, so it gets the same objects through a port with a certificate. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Measurement, measureCommand, runCommand } from '../measure/measure.ts';
import type { UsageScope } from '../measure/usage-watch.ts';
import { type BenchSite, keysUnder, removeObjects } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { Peer, WalAccess } from './peer.ts';

export type PgbackrestCompression = 'lz4' | 'zst';

const stanza = 'bench';

/** Makes the contestant. */
export async function createPgbackrest(site: BenchSite, program: string, compression: PgbackrestCompression): Promise<Peer> {
  const pgbackrest = new Pgbackrest(site, program, compression);
  await pgbackrest.configure();
  return pgbackrest;
}

class Pgbackrest implements Peer {
  readonly name = 'pgbackrest';
  readonly variant: PgbackrestCompression;
  readonly needsArchiving = false;
  readonly archiveUsage: UsageScope;
  readonly #site: BenchSite;
  readonly #program: string;
  readonly #directory: string;
  readonly #configFile: string;
  readonly #prefix: string;

  constructor(site: BenchSite, program: string, compression: PgbackrestCompression) {
    this.#site = site;
    this.#program = program;
    this.variant = compression;
    this.#prefix = `pgbackrest-${compression}`;
    this.#directory = join(site.peersDirectory, this.#prefix);
    this.#configFile = join(this.#directory, 'pgbackrest.conf');
    // Its asynchronous half detaches itself from archive-push and archive-get.
    this.archiveUsage = { detached: { names: new Set(['pgbackrest']), mark: this.#directory } };
  }

  async configure(): Promise<void> {
    const { s3, source } = this.#site;
    for (const name of ['spool', 'lock', 'log']) await mkdir(join(this.#directory, name), { recursive: true });
    const settings = {
      'repo1-type': 's3',
      'repo1-path': `/${this.#prefix}`,
      'repo1-s3-bucket': s3.bucket,
      'repo1-s3-endpoint': '127.0.0.1',
      'repo1-storage-host': '127.0.0.1',
      'repo1-storage-port': String(s3.tlsPort),
      'repo1-storage-verify-tls': 'n',
      'repo1-s3-uri-style': 'path',
      'repo1-s3-region': 'us-east-1',
      'repo1-s3-key': s3.environment['AWS_ACCESS_KEY_ID'] ?? '',
      'repo1-s3-key-secret': s3.environment['AWS_SECRET_ACCESS_KEY'] ?? '',
      'repo1-retention-full': '9',
      'compress-type': this.variant,
      'compress-level': '1',
      'process-max': '2',
      'archive-async': 'y',
      'start-fast': 'y',
      'spool-path': join(this.#directory, 'spool'),
      'lock-path': join(this.#directory, 'lock'),
      'log-path': join(this.#directory, 'log'),
      'log-level-console': 'warn',
      'log-level-file': 'off',
    };
    const cluster = {
      'pg1-path': source.dataDirectory,
      'pg1-socket-path': source.server.host,
      'pg1-port': String(source.server.port),
      'pg1-user': source.server.user,
      'pg1-database': source.server.database,
    };
    const lines = (section: Readonly<Record<string, string>>): string =>
      Object.entries(section)
        .map(([name, value]) => `${name}=${value}\n`)
        .join('');
    await writeFile(this.#configFile, `[global]\n${lines(settings)}\n[${stanza}]\n${lines(cluster)}`, { mode: 0o600 });
  }

  /** It is not asked to wait for WAL: nobody is. */
  async pushBaseBackup(): Promise<Measurement> {
    await removeObjects(this.#site, `${this.#prefix}/`);
    await this.#command('stanza-create');
    return await this.#measure('--type=full', '--no-archive-check', 'backup');
  }

  async fetchBaseBackup(into: string): Promise<Measurement> {
    await mkdir(into, { mode: 0o700 });
    return await this.#measure(`--pg1-path=${into}`, '--type=none', 'restore');
  }

  get archiveCommand(): string {
    return `${this.#program} --config=${this.#configFile} --stanza=${stanza} archive-push "%p"`;
  }

  async forgetWal(names: readonly string[]): Promise<void> {
    await removeObjects(this.#site, this.#walPrefix, (key) => names.some((name) => key.includes(`/${name}`)));
    await rm(join(this.#directory, 'spool', 'archive'), { recursive: true, force: true });
  }

  async heldWal(names: readonly string[]): Promise<readonly string[]> {
    const keys = await keysUnder(this.#site, this.#walPrefix);
    return names.filter((name) => keys.some((key) => key.includes(`/${name}-`)));
  }

  async openWal(dataDirectory: string): Promise<WalAccess> {
    await rm(join(this.#directory, 'spool', 'archive'), { recursive: true, force: true });
    const restoreCommand = `${this.#program} --config=${this.#configFile} --stanza=${stanza} --pg1-path=${dataDirectory} archive-get %f "%p"`;
    return { restoreCommand, usage: this.archiveUsage, close: async () => undefined };
  }

  get #walPrefix(): string {
    return `${this.#prefix}/archive/${stanza}/`;
  }

  #arguments(args: readonly string[]): readonly string[] {
    return [`--config=${this.#configFile}`, `--stanza=${stanza}`, ...args];
  }

  async #command(...args: readonly string[]): Promise<void> {
    await runCommand(this.#program, this.#arguments(args), { env: baseEnvironment(), cwd: dirname(this.#configFile) });
  }

  #measure(...args: readonly string[]): Promise<Measurement> {
    return measureCommand(this.#program, this.#arguments(args), { env: baseEnvironment(), cwd: dirname(this.#configFile) });
  }
}
