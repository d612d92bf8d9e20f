/**
 * Plain files: `cp` to and from a directory on the same disk. The floor, not a backup: nothing is verified or compressed. A base backup that is fetched is
 * flushed, as everybody's is: what its disk takes for that, nobody can be faster than.
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startBackupSession } from '../../src/postgres/backup-session.ts';
import { type Measurement, measureCommand } from '../measure/measure.ts';
import type { BenchSite } from '../site/bench-site.ts';
import { baseEnvironment } from '../site/s3.ts';
import type { Peer, WalAccess, WholeRestore } from './peer.ts';
import { restoreByScript } from './whole-restore.ts';

/** What is not part of a base backup (PostgreSQL manual, "Backing Up the Data Directory"). */
const leftOut = ['pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans'];

/** The contestant, and the place of its files. */
export interface LocalFiles extends Peer {
  /** The base backup, as plain files. */
  readonly baseDirectory: string;
}

/** Makes the contestant. */
export async function createLocalFiles(site: BenchSite): Promise<LocalFiles> {
  const local = new CopiedFiles(site);
  await mkdir(local.walDirectory, { recursive: true });
  return local;
}

class CopiedFiles implements LocalFiles {
  readonly name = 'local-files';
  readonly variant = '';
  readonly needsArchiving = false;
  readonly archiveUsage = {};
  readonly baseDirectory: string;
  readonly walDirectory: string;
  readonly #site: BenchSite;

  constructor(site: BenchSite) {
    this.#site = site;
    this.baseDirectory = join(site.peersDirectory, 'local-base');
    this.walDirectory = join(site.peersDirectory, 'local-wal');
  }

  async pushBaseBackup(): Promise<Measurement> {
    const { source } = this.#site;
    await rm(this.baseDirectory, { recursive: true, force: true });
    await using session = await startBackupSession({ ...source.server }, { label: 'bench local files', fast: true });
    await mkdir(this.baseDirectory, { mode: 0o700 });
    const entries = (await readdir(source.dataDirectory)).filter((name) => !leftOut.includes(name) && name !== 'postmaster.pid');
    const paths = entries.map((name) => join(source.dataDirectory, name));
    const measurement = await measureCommand('cp', ['-a', ...paths, this.baseDirectory], this.#surroundings);
    const stopped = await session.stop();
    for (const name of leftOut) await mkdir(join(this.baseDirectory, name), { mode: 0o700 });
    await writeFile(join(this.baseDirectory, 'backup_label'), stopped.labelFile);
    return measurement;
  }

  fetchBaseBackup(into: string): Promise<Measurement> {
    return measureCommand('sh', ['-c', 'cp -a "$1" "$2" && sync -f "$2"', 'sh', this.baseDirectory, into], this.#surroundings);
  }

  get archiveCommand(): string {
    return `cp "%p" "${this.walDirectory}/%f"`;
  }

  async forgetWal(names: readonly string[]): Promise<void> {
    for (const name of names) await rm(join(this.walDirectory, name), { force: true });
  }

  async heldWal(names: readonly string[]): Promise<readonly string[]> {
    const held = new Set(await readdir(this.walDirectory));
    return names.filter((name) => held.has(name));
  }

  async openWal(): Promise<WalAccess> {
    return { restoreCommand: `cp "${this.walDirectory}/%f" "%p"`, usage: {}, close: async () => undefined };
  }

  async restoreAll(restore: WholeRestore): Promise<Measurement> {
    const { restoreCommand } = await this.openWal();
    return await restoreByScript(this.#site, restore, { fetch: `cp -a "${this.baseDirectory}" "$DIR"`, restoreCommand });
  }

  get #surroundings(): { readonly env: Record<string, string>; readonly cwd: string } {
    return { env: baseEnvironment(), cwd: this.#site.peersDirectory };
  }
}

/** A copy of the plain base backup, for figures in which it does not matter who brought it. */
export async function copyBase(local: LocalFiles, into: string): Promise<void> {
  await local.fetchBaseBackup(into);
}
