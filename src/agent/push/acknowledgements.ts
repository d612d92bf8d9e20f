/**
 * Proofs that a WAL file is durable in the archive, for the shell of archive_command to find by itself. A proof of NAME is two files:
 *
 *   NAME        a hard link to the very file in pg_wal that was archived
 *   NAME.stamp  an empty file, made before that file was read
 *
 * The shell takes them for proof when what PostgreSQL hands over is the same file as the link (device and inode, which no other file can
 * have while the link is there), and is older than the stamp, so was not changed since it was read. PostgreSQL never changes a file that is
 * ready, and renames it only once it was told that it is archived; anything else that is found under the name is not proven and is asked
 * for over the socket.
 *
 * The files lie in pg_wal, because a hard link cannot leave its file system. Their directory is found through a symbolic link in the agent's
 * state directory: a copy of the data directory elsewhere comes without it and inherits no proof. It is emptied when the agent starts, and
 * removed when it ends, so that a proof never outlives the archive it speaks of, and no link keeps a removed segment's blocks.
 */
import { link, lstat, mkdir, realpath, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../domain/errors.ts';
import { privateDirectoryMode, unfinishedPathOf } from '../../files/durable-file.ts';
import type { AgentLog } from '../agent-log.ts';
import { emptyDirectory, endWait, wantedSuffix } from '../shell/answer-directory.ts';
import { fileIdentity } from './file-identity.ts';

/** In pg_wal; PostgreSQL leaves alone what is not named like a WAL file of its own. */
const directoryName = 'walkback_archived';
const stampSuffix = '.stamp';
/** Times of files advance in ticks of the kernel's clock, 1 to 10 ms; a file may have been changed in the present one. */
const clockTickMs = 5;
const stampAttempts = 4;

/** Where the shell looks for the proofs of a cluster, below the agent's state directory. */
export function acknowledgementsPathOf(stateDirectory: string, cluster: string): string {
  return join(stateDirectory, 'archived', cluster);
}

/** The proofs of one cluster. */
export class Acknowledgements {
  readonly #publicPath: string;
  readonly #dataDirectory: string;
  readonly #log: AgentLog;
  /** Undefined until it is open, and where the file system knows no hard links. */
  #directory: string | undefined;

  constructor(options: { readonly publicPath: string; readonly dataDirectory: string; readonly log: AgentLog }) {
    this.#publicPath = options.publicPath;
    this.#dataDirectory = options.dataDirectory;
    this.#log = options.log;
  }

  get directory(): string | undefined {
    return this.#directory;
  }

  /** Begins with no proof at all. Where none can be given, every file is asked for over the socket. */
  async open(): Promise<void> {
    try {
      const directory = join(await realpath(join(this.#dataDirectory, 'pg_wal')), directoryName);
      await mkdir(directory, { recursive: true, mode: privateDirectoryMode });
      await emptyDirectory(directory);
      await assertLinksWork(directory);
      await pointTo(directory, this.#publicPath);
      this.#directory = directory;
    } catch (error) {
      this.#log.warn(
        { dataDirectory: this.#dataDirectory, reason: messageOf(error) },
        'WAL files cannot be acknowledged by files: each archive_command asks over the socket.',
      );
    }
  }

  /**
   * Runs the work that archives a file, and publishes the proof when it has succeeded. Without a proof PostgreSQL asks over the socket, so a
   * failure to give one is no failure of the work.
   * @param work resolves to the identity of the file that is durable in the archive
   */
  async prove(name: string, path: string, work: () => Promise<string>): Promise<string> {
    const stamp = await this.#attempt(name, () => this.#begin(name, path));
    try {
      const identity = await work();
      if (stamp !== undefined) await this.#attempt(name, () => this.#publish(name, { stamp, path, identity }));
      return identity;
    } finally {
      if (stamp !== undefined) await rm(stamp, { force: true });
    }
  }

  /** The stamp goes first: without it the link proves nothing. */
  async forget(name: string): Promise<void> {
    if (this.#directory === undefined) return;
    for (const path of [`${name}${stampSuffix}`, name]) await rm(join(this.#directory, path), { force: true });
  }

  /** The shell need not wait for the file any longer. */
  async endWait(name: string): Promise<void> {
    if (this.#directory !== undefined) await endWait(this.#directory, name);
  }

  /** Takes all proofs back. */
  async close(): Promise<void> {
    if (this.#directory === undefined) return;
    await rm(this.#publicPath, { force: true });
    await rm(this.#directory, { recursive: true, force: true });
    this.#directory = undefined;
  }

  /** @returns the stamp; undefined when none can be had that is newer than the file */
  async #begin(name: string, path: string): Promise<string | undefined> {
    if (this.#directory === undefined) return undefined;
    const stamp = unfinishedPathOf(join(this.#directory, name));
    for (let attempt = 1; attempt <= stampAttempts; attempt += 1) {
      await writeFile(stamp, '', { mode: 0o600 });
      const [own, file] = [await lstat(stamp, { bigint: true }), await lstat(path, { bigint: true })];
      if (own.mtimeNs > file.mtimeNs) return stamp;
      await rm(stamp);
      await delay(clockTickMs);
    }
    return undefined;
  }

  /** The proof becomes visible when it is whole, unless the file at the path is another one now. */
  async #publish(name: string, file: { readonly stamp: string; readonly path: string; readonly identity: string }): Promise<void> {
    if (this.#directory === undefined) return;
    const linked = join(this.#directory, name);
    await this.forget(name);
    await link(file.path, linked);
    if ((await fileIdentity(linked)) === file.identity) await rename(file.stamp, `${linked}${stampSuffix}`);
    else await this.forget(name);
  }

  async #attempt<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#log.warn({ name, reason: messageOf(error) }, 'A WAL file is not acknowledged by a file; PostgreSQL asks over the socket.');
      return undefined;
    }
  }
}

/** What the shell line needs to know of the files above. */
export const acknowledgementSuffixes = { stamp: stampSuffix, wanted: wantedSuffix } as const;

async function assertLinksWork(directory: string): Promise<void> {
  const [file, linked] = [join(directory, 'probe'), join(directory, 'probe.link')];
  await writeFile(file, '');
  await link(file, linked);
  const [left, right] = [await lstat(file, { bigint: true }), await lstat(linked, { bigint: true })];
  if (left.ino !== right.ino) throw new Error(`hard links in ${directory} are files of their own`);
  await unlink(file);
  await unlink(linked);
}

/** Replaces what the path points to, in one step. */
async function pointTo(directory: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: privateDirectoryMode });
  const unfinished = unfinishedPathOf(path);
  await symlink(directory, unfinished);
  await rename(unfinished, path);
}
