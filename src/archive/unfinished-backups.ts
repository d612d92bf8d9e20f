/**
 * The names of base backups that this host has begun to store and not completed: what of them is in the archive has no sentinel, and is removed before
 * the next backup. Only these are: another host may be writing a backup of its own.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { writeFileDurably } from '../files/durable-file.ts';
import { isAbsent } from '../files/system-error.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { sweepOrphans } from './base-backup-completion.ts';
import { JsonFields, parseExactJson } from './documents/exact-json.ts';

/** More interrupted backups in a row than anybody bears. The oldest is forgotten. */
const maximumNames = 1000;

export class UnfinishedBackups {
  readonly #path: string;

  /** @param path of the record, a file that is this cluster's alone */
  constructor(path: string) {
    this.#path = path;
  }

  /** Remembers a backup, durably: called before its first object is stored. */
  async begin(name: string): Promise<void> {
    await this.#write([...(await this.#names()).filter((other) => other !== name), name].slice(-maximumNames));
  }

  /** Forgets a backup: called when its sentinel is stored. */
  async complete(name: string): Promise<void> {
    const names = await this.#names();
    if (names.includes(name)) await this.#write(names.filter((other) => other !== name));
  }

  /** Removes what is left of every backup that was begun and not completed, and forgets it. A backup that has a sentinel after all stays. */
  async sweep(store: ObjectStore, signal: AbortSignal): Promise<void> {
    for (const name of await this.#names()) {
      try {
        await sweepOrphans(store, name, { signal });
      } catch (error) {
        // It has a sentinel: the record of its completion was lost.
        if (!(error instanceof WalkbackError) || error.code !== 'BACKUP_FAILED') throw error;
      }
      await this.complete(name);
    }
  }

  async #names(): Promise<readonly string[]> {
    try {
      return new JsonFields(parseExactJson(await readFile(this.#path, 'utf8')), this.#path).strings('backups') ?? [];
    } catch (error) {
      if (isAbsent(error)) return [];
      throw error;
    }
  }

  async #write(backups: readonly string[]): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    await writeFileDurably(this.#path, Buffer.from(`${JSON.stringify({ backups })}\n`));
  }
}
