/** An archive in a directory, laid out as WAL-G's file storage does it: the keys are the paths. */
import type { BigIntStats } from 'node:fs';
import { lstat, mkdir, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WalkbackError } from '../domain/errors.ts';
import type { EnforcedByStore } from '../domain/store-capabilities.ts';
import { rangeBeyondEnd, requireRange } from './byte-range.ts';
import { cancelled, throwIfCancelled } from './cancellation.ts';
import { removeFile } from './durable-files.ts';
import { systemCodeOf } from '../files/system-error.ts';
import { FileBody } from './file-body.ts';
import { fromFileError, isAbsence } from './file-errors.ts';
import { listKeys } from './file-listing.ts';
import { metadataFolder, readFileMetadata, removeFileMetadata } from './file-metadata.ts';
import { FileUpload } from './file-upload.ts';
import { requireKey, requireMetadata } from './object-key.ts';
import type { ByteRange, ObjectBody, ObjectInfo, ObjectStore, ObjectUpload, PutOptions } from './object-store.ts';

/** What a file store is told. */
export interface FileStoreOptions {
  /** Must exist: a store that made it would write into the mount point of a disk that is not mounted. */
  readonly directory: string;
}

/** Unfinished files, on the same file system as the objects. WAL-G's listings look into the folders it knows and never meet it. */
const temporaryFolder = '.walkback-tmp';
const hiddenFolders: ReadonlySet<string> = new Set([temporaryFolder, metadataFolder]);

/** Opens a directory as a store. Nothing is touched before the first request. */
export function createFileObjectStore(options: FileStoreOptions): FileObjectStore {
  return new FileObjectStore(resolve(options.directory));
}

/** ObjectStore over a directory. Nothing in it may be written by others in place; WAL-G writes by rename too. */
export class FileObjectStore implements ObjectStore {
  readonly url: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.url = pathToFileURL(root).href;
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<ObjectInfo | 'exists'> {
    const upload = await this.#openUpload(key, options);
    try {
      await upload.write(bytes);
      return await upload.place({ exclusive: options.ifAbsent === true });
    } finally {
      await upload.abort();
    }
  }

  async openUpload(key: string, options: Omit<PutOptions, 'ifAbsent'> = {}): Promise<ObjectUpload> {
    return this.#openUpload(key, options);
  }

  async get(key: string, options: { readonly range?: ByteRange; readonly signal?: AbortSignal } = {}): Promise<ObjectBody | undefined> {
    requireRange(options.range);
    throwIfCancelled('Reading', this.#urlOf(key), options.signal);
    return this.#unlessAbsent('Reading', key, async (path) => {
      const handle = await open(path, 'r');
      try {
        return await this.#openBody(key, handle, options);
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  async head(key: string, options: { readonly signal?: AbortSignal } = {}): Promise<ObjectInfo | undefined> {
    throwIfCancelled('Reading', this.#urlOf(key), options.signal);
    return this.#unlessAbsent('Reading', key, async (path) => {
      const stats = await lstat(path, { bigint: true });
      return stats.isFile() ? this.#describe(key, stats) : undefined;
    });
  }

  async *list(prefix: string, options: { readonly shallow?: boolean; readonly signal?: AbortSignal } = {}): AsyncIterable<ObjectInfo> {
    const { shallow = false, signal } = options;
    try {
      for await (const key of listKeys({ root: this.#root, prefix, shallow, hiddenFolders })) {
        throwIfCancelled('Listing', this.url, signal);
        const info = await this.#listed(key);
        if (info !== undefined) yield info;
      }
    } catch (error) {
      throw this.#explained(error, 'Listing', this.url);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      try {
        // The object first: metadata without its object is only litter, an object without its metadata is poorer.
        await removeFile(this.#pathOf(key), this.#root);
        await removeFileMetadata(this.#root, key);
      } catch (error) {
        throw this.#explained(error, 'Removing', this.#urlOf(key));
      }
    }
  }

  /** A file system takes bytes and no checksum beside them. */
  async probe(folder: string): Promise<EnforcedByStore> {
    const key = `${folder}/object`;
    await this.put(key, Buffer.from('probe'));
    return {
      conditionalPut: (await this.put(key, Buffer.from('probe'), { ifAbsent: true })) === 'exists',
      checksums: 'ignored',
      delimiterListing: true,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is held open between requests.
  }

  async #openUpload(key: string, options: PutOptions): Promise<FileUpload> {
    const path = this.#pathOf(key);
    requireMetadata(options.metadata);
    throwIfCancelled('Writing', this.#urlOf(key), options.signal);
    try {
      const temporary = await this.#newTemporaryPath();
      return new FileUpload(await open(temporary, 'wx', 0o644), {
        root: this.#root,
        key,
        url: this.#urlOf(key),
        path,
        temporary,
        metadata: options.metadata,
        signal: options.signal,
      });
    } catch (error) {
      throw this.#explained(error, 'Writing', this.#urlOf(key));
    }
  }

  async #newTemporaryPath(): Promise<string> {
    const folder = join(this.#root, temporaryFolder);
    await mkdir(folder, { mode: 0o755 }).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
    });
    return join(folder, randomUUID());
  }

  async #openBody(
    key: string,
    handle: FileHandle,
    options: { readonly range?: ByteRange; readonly signal?: AbortSignal },
  ): Promise<ObjectBody | undefined> {
    const { range, signal } = options;
    const stats = await handle.stat({ bigint: true });
    if (!stats.isFile()) {
      await handle.close();
      return undefined;
    }
    const info = await this.#describe(key, stats);
    const startBytes = range?.startBytes ?? 0;
    if (range !== undefined && startBytes >= info.sizeBytes) throw rangeBeyondEnd(this.#urlOf(key), startBytes);
    const endBytes = Math.min(range?.endBytes ?? info.sizeBytes, info.sizeBytes);
    const body = new FileBody(handle, { startBytes, endBytes });
    const onAbort = (): void => {
      if (signal !== undefined) body.destroy(cancelled('Reading', this.#urlOf(key), signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    body.once('close', () => signal?.removeEventListener('abort', onAbort));
    return { info, body };
  }

  async #listed(key: string): Promise<ObjectInfo | undefined> {
    try {
      const stats = await lstat(join(this.#root, key), { bigint: true });
      return toInfo(key, stats);
    } catch (error) {
      // Removed since the directory was read: a listing is no snapshot.
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  async #describe(key: string, stats: BigIntStats): Promise<ObjectInfo> {
    return { ...toInfo(key, stats), metadata: await readFileMetadata({ root: this.#root, key, stats }) };
  }

  /** Runs a read, and takes a missing file for absence only when the store itself is there. */
  async #unlessAbsent<T>(operation: string, key: string, read: (path: string) => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read(this.#pathOf(key));
    } catch (error) {
      if (!isAbsence(error)) throw this.#explained(error, operation, this.#urlOf(key));
    }
    await this.#requireRoot(operation, key);
    return undefined;
  }

  async #requireRoot(operation: string, key: string): Promise<void> {
    try {
      await lstat(this.#root);
    } catch (error) {
      throw this.#explained(error, operation, this.#urlOf(key));
    }
  }

  #explained(error: unknown, operation: string, url: string): WalkbackError {
    if (systemCodeOf(error) !== 'ENOENT') return fromFileError(error, operation, url);
    return new WalkbackError('STORAGE_UNREACHABLE', `${operation} of ${url} failed: the directory ${this.#root} is not there.`, {
      hint: 'Mount it, or create it once: it is never created by itself, as that could write below an unmounted mount point.',
      facts: { directory: this.#root },
      cause: error,
    });
  }

  #pathOf(key: string): string {
    requireKey(key);
    for (const folder of hiddenFolders) {
      if (key === folder || key.startsWith(`${folder}/`)) {
        throw new WalkbackError('INVALID_REQUEST', `The key ${key} lies in ${folder}, which the store keeps for itself.`, {
          facts: { key },
        });
      }
    }
    return join(this.#root, key);
  }

  #urlOf(key: string): string {
    return `${this.url}/${key}`;
  }
}

function toInfo(key: string, stats: BigIntStats): ObjectInfo {
  const etag = `"${stats.mtimeNs.toString(16)}-${stats.size.toString(16)}"`;
  return { key, sizeBytes: Number(stats.size), etag, lastModified: stats.mtime };
}
