/** Writing an object into a directory: a temporary file that is put in its place when it is whole. */
import type { FileHandle } from 'node:fs/promises';
import { rm } from 'node:fs/promises';
import { WalkbackError } from '../domain/errors.ts';
import { throwIfCancelled } from './cancellation.ts';
import { placeFile } from './durable-files.ts';
import { fromFileError } from './file-errors.ts';
import { writeFileMetadata } from './file-metadata.ts';
import type { ObjectInfo, ObjectUpload } from './object-store.ts';

/** Where the file goes and what goes with it. */
export interface FileUploadOptions {
  readonly root: string;
  readonly key: string;
  readonly url: string;
  readonly path: string;
  readonly temporary: string;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal | undefined;
}

/** One file being written. */
export class FileUpload implements ObjectUpload {
  readonly #handle: FileHandle;
  readonly #options: FileUploadOptions;
  #state: 'open' | 'placed' | 'gone' = 'open';

  constructor(handle: FileHandle, options: FileUploadOptions) {
    this.#handle = handle;
    this.#options = options;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#guarded(() => this.#handle.writeFile(bytes));
  }

  async flush(): Promise<void> {
    await this.#guarded(() => this.#handle.sync());
  }

  async complete(signal?: AbortSignal): Promise<ObjectInfo> {
    const info = await this.#guarded(() => this.#place(false), signal);
    if (info === 'exists') throw new WalkbackError('INTERNAL', `${this.#options.url}: an unconditional write was refused.`);
    return info;
  }

  /** Makes the object visible and durable. @returns 'exists' when it must be the first and is not */
  async place(options: { readonly exclusive: boolean }): Promise<ObjectInfo | 'exists'> {
    return this.#guarded(() => this.#place(options.exclusive));
  }

  async abort(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'gone';
    await this.#handle.close();
    await rm(this.#options.temporary, { force: true });
  }

  async #place(exclusive: boolean): Promise<ObjectInfo | 'exists'> {
    const { root, key, path, temporary, metadata } = this.#options;
    await this.#handle.sync();
    const stats = await this.#handle.stat({ bigint: true });
    const describe = (): Promise<void> => writeFileMetadata({ root, key, stats }, metadata, `${temporary}.json`);
    // Metadata first, so that no reader meets the object without; but the loser of a race must not touch the winner's.
    if (!exclusive) await describe();
    if (!(await placeFile(temporary, path, { root, exclusive }))) return 'exists';
    this.#state = 'placed';
    await this.#handle.close();
    if (exclusive) await describe();
    const etag = `"${stats.mtimeNs.toString(16)}-${stats.size.toString(16)}"`;
    return { key, sizeBytes: Number(stats.size), etag, lastModified: stats.mtime, metadata: metadata ?? {} };
  }

  async #guarded<T>(work: () => Promise<T>, signal: AbortSignal | undefined = this.#options.signal): Promise<T> {
    throwIfCancelled('Writing', this.#options.url, signal);
    if (this.#state !== 'open') throw new WalkbackError('INTERNAL', `The upload of ${this.#options.url} is over.`);
    try {
      return await work();
    } catch (error) {
      throw fromFileError(error, 'Writing', this.#options.url);
    }
  }
}
