/** Which tars are in place already: a small file for each, written when all it brought is durable, so that a fetch goes on where it stopped. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../../domain/errors.ts';
import { JsonFields, parseExactJson } from '../documents/exact-json.ts';
import { syncDirectory, writeFileDurably } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import type { StoredTar } from './stored-tars.ts';

/** What a record says of a tar that is in place. */
export interface PartRecord {
  /** Files that the backup's list has, and that this tar held. */
  readonly arrivedCount: number;
}

export class PartRecords {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Opens the records in the state directory, which is made when it is absent.
   * @throws WalkbackError DATA_DIRECTORY_NOT_EMPTY when they are of another backup
   */
  static async open(stateDirectory: string, backup: string): Promise<PartRecords> {
    const directory = join(stateDirectory, 'parts');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const path = join(directory, 'backup');
    const recorded = await readIfThere(path);
    if (recorded !== undefined && recorded !== backup)
      throw new WalkbackError('DATA_DIRECTORY_NOT_EMPTY', `${directory} belongs to the fetch of another backup, ${recorded}.`, {
        facts: { backup, other: recorded },
      });
    if (recorded === undefined) await writeFileDurably(path, backup);
    await syncDirectory(stateDirectory);
    return new PartRecords(directory);
  }

  /** What is recorded of this very object; undefined when it is not in place. */
  async find(backup: string, tar: StoredTar): Promise<PartRecord | undefined> {
    const path = this.#path(backup, tar);
    const text = await readIfThere(path);
    if (text === undefined) return undefined;
    const fields = new JsonFields(parseExactJson(text), path);
    if (fields.integer('bytes') !== tar.info.sizeBytes) return undefined;
    return { arrivedCount: fields.required('arrived', (all, name) => all.integer(name)) };
  }

  /** Writes down that the tar is in place. */
  async add(backup: string, tar: StoredTar, record: PartRecord): Promise<void> {
    const path = this.#path(backup, tar);
    await mkdir(join(this.#directory, backup), { recursive: true, mode: 0o700 });
    await writeFileDurably(path, JSON.stringify({ bytes: tar.info.sizeBytes, arrived: record.arrivedCount }));
    await syncDirectory(this.#directory);
  }

  #path(backup: string, tar: StoredTar): string {
    return join(this.#directory, backup, `${tar.fileName}.done`);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
