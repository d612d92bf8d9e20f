/** Which tars are in place already: a small file for each, written when all it brought is durable, so that a fetch goes on where it stopped. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../../domain/errors.ts';
import { JsonFields, parseExactJson } from '../documents/exact-json.ts';
import { syncDirectory, writeFileDurably } from '../../files/durable-file.ts';
import { isAbsent } from '../../files/system-error.ts';
import type { StoredTar } from './tar-extraction.ts';

export class PartRecords {
  readonly #directory: string;
  readonly #backup: string;

  private constructor(directory: string, backup: string) {
    this.#directory = directory;
    this.#backup = backup;
  }

  /** Opens the records in the state directory, which is made when it is absent. */
  static async open(stateDirectory: string, backup: string): Promise<PartRecords> {
    const directory = join(stateDirectory, 'parts');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await syncDirectory(stateDirectory);
    return new PartRecords(directory, backup);
  }

  /** Is this very object in place? @throws WalkbackError DATA_DIRECTORY_NOT_EMPTY when the record is of another backup */
  async has(tar: StoredTar): Promise<boolean> {
    const text = await this.#read(tar);
    if (text === undefined) return false;
    const fields = new JsonFields(parseExactJson(text), this.#path(tar));
    if (fields.string('backup') === this.#backup) return fields.integer('bytes') === tar.info.sizeBytes;
    throw new WalkbackError(
      'DATA_DIRECTORY_NOT_EMPTY',
      `${this.#directory} belongs to the fetch of another backup, ${fields.string('backup')}.`,
    );
  }

  /** Writes down that the tar is in place. */
  async add(tar: StoredTar): Promise<void> {
    await writeFileDurably(this.#path(tar), Buffer.from(JSON.stringify({ backup: this.#backup, bytes: tar.info.sizeBytes })));
  }

  async #read(tar: StoredTar): Promise<string | undefined> {
    try {
      return await readFile(this.#path(tar), 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  #path(tar: StoredTar): string {
    return join(this.#directory, `${tar.fileName}.done`);
  }
}
