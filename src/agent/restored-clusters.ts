/**
 * Names, ports and directories that restores on this host have taken. A restore claims them before any work, so that of two that want the same
 * the second is refused; once open, the entry tells the agent where the restored cluster lives. Kept on disk, so that a killed agent knows them.
 */
import { z } from 'zod';
import { WalkbackError } from '../domain/errors.ts';
import type { AgentLog } from './agent-log.ts';
import { openRegistrationFiles, type RegistrationFiles } from './registration-files.ts';

const restoredClusterSchema = z.object({
  name: z.string(),
  restoreId: z.string(),
  state: z.enum(['restoring', 'open']),
  /** RFC 3339, UTC. */
  claimedAt: z.string(),
  dataDirectory: z.string(),
  port: z.int(),
  socketDirectory: z.string(),
  adminRole: z.string(),
  database: z.string(),
  archiveUrl: z.string(),
});

/** A cluster that was restored here, or is being restored. */
export type RestoredCluster = Readonly<z.infer<typeof restoredClusterSchema>>;

/** Entries by name. */
export class RestoredClusters {
  readonly #files: RegistrationFiles<RestoredCluster>;
  readonly #entries = new Map<string, RestoredCluster>();

  private constructor(files: RegistrationFiles<RestoredCluster>) {
    this.#files = files;
  }

  /** Opens the entries of a folder. */
  static async open(directory: string, log: AgentLog): Promise<RestoredClusters> {
    const clusters = new RestoredClusters(openRegistrationFiles(directory, { schema: restoredClusterSchema, log }));
    for (const entry of await clusters.#files.load()) clusters.#entries.set(entry.name, entry);
    return clusters;
  }

  /** An open restored cluster. */
  find(name: string): RestoredCluster | undefined {
    const entry = this.#entries.get(name);
    return entry?.state === 'open' ? entry : undefined;
  }

  list(): readonly RestoredCluster[] {
    return [...this.#entries.values()];
  }

  /**
   * Takes name, port and directory. The same restore may claim again.
   * @throws WalkbackError NAME_IN_USE, PORT_IN_USE, DATA_DIRECTORY_IN_USE naming who holds it
   */
  async claim(wanted: RestoredCluster): Promise<void> {
    this.assertFree(wanted);
    for (const own of this.list()) if (own.restoreId === wanted.restoreId && own.name !== wanted.name) await this.#remove(own.name);
    await this.#save(wanted);
  }

  /** Only looks. @throws WalkbackError as claim, for what another restore has taken */
  assertFree(wanted: Pick<RestoredCluster, 'name' | 'port' | 'dataDirectory' | 'restoreId'>): void {
    const others = this.list().filter((entry) => entry.restoreId !== wanted.restoreId);
    const refuse = (code: 'NAME_IN_USE' | 'PORT_IN_USE' | 'DATA_DIRECTORY_IN_USE', what: string, by: RestoredCluster) => {
      throw new WalkbackError(
        code,
        `${what} is taken by the ${by.state === 'open' ? 'restored cluster' : 'running restore'} "${by.name}" (${by.restoreId}).`,
        { facts: { restoreId: by.restoreId } },
      );
    };
    for (const other of others) {
      if (other.name === wanted.name) refuse('NAME_IN_USE', `The name "${wanted.name}"`, other);
      if (other.port === wanted.port) refuse('PORT_IN_USE', `Port ${wanted.port}`, other);
      if (other.dataDirectory === wanted.dataDirectory) refuse('DATA_DIRECTORY_IN_USE', wanted.dataDirectory, other);
    }
  }

  /** Gives back what a restore took that did not come to its end. */
  async release(restoreId: string): Promise<void> {
    for (const entry of this.list()) if (entry.restoreId === restoreId && entry.state === 'restoring') await this.#remove(entry.name);
  }

  /** Forgets what a restore has taken, open or not: its cluster was given up and cannot be started. */
  async forget(restoreId: string): Promise<void> {
    for (const entry of this.list()) if (entry.restoreId === restoreId) await this.#remove(entry.name);
  }

  /** The restore has come to its end. @param adminRole the agent's superuser, which may have a new name by now */
  async markOpen(name: string, adminRole: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry !== undefined) await this.#save({ ...entry, adminRole, state: 'open' });
  }

  async #save(entry: RestoredCluster): Promise<void> {
    this.#entries.set(entry.name, entry);
    await this.#files.save(entry.name, entry);
  }

  async #remove(name: string): Promise<void> {
    this.#entries.delete(name);
    await this.#files.remove(name);
  }
}
