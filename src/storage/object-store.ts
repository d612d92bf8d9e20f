/** Objects by key, in S3 or in a directory. Knows nothing of PostgreSQL. */
import type { Readable } from 'node:stream';
import type { EnforcedByStore } from '../domain/store-capabilities.ts';
import { readAll, readerOf } from './byte-reader.ts';
import { repeatWhenDamaged } from './damaged-reads.ts';

/** What a listing or a head request says of an object. */
export interface ObjectInfo {
  /** Relative to the store's root, with `/` between parts and none in front. */
  readonly key: string;
  readonly sizeBytes: number;
  /** The store's own tag of the content, when it gives one. */
  readonly etag: string | undefined;
  /** Whole seconds in S3: never an order of events. */
  readonly lastModified: Date;
  /** The user metadata it was written with (lower-case names, ASCII values). Listings do not tell it. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** How an object is written. */
export interface PutOptions {
  /** Refuse when the key exists, atomically where the store can (`If-None-Match: *`). Default false. */
  readonly ifAbsent?: boolean;
  /** Kept beside the object: lower-case names, ASCII values, 2 KiB in all. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** An object being written in pieces. Nothing is visible under the key before `flush` or `complete` was called. */
export interface ObjectUpload {
  /** Takes the next bytes; resolves when the upload can take more, so that memory stays bounded. The caller must not touch the buffer afterwards. */
  write(bytes: Uint8Array): Promise<void>;
  /** Waits until the store has all bytes. From then on `complete` can be called again when it has failed; an object of one request may be visible already. */
  flush(): Promise<void>;
  /**
   * Makes the object visible and durable. After `flush`, a signal takes the place of the one that the upload was opened with.
   * @throws WalkbackError INTERNAL when the store has lost the upload, and nothing but writing anew helps
   */
  complete(signal?: AbortSignal): Promise<ObjectInfo>;
  /** Gives up and leaves nothing behind. Safe after a failed write or complete. */
  abort(): Promise<void>;
}

/** A part of an object: `endBytes` is exclusive. */
export interface ByteRange {
  readonly startBytes: number;
  readonly endBytes?: number;
}

/** An object being read. The body must be read to its end or destroyed: an unread one holds a socket. */
export interface ObjectBody {
  readonly info: ObjectInfo;
  readonly body: Readable;
}

/**
 * Where archives are kept. Implementations: S3ObjectStore, FileObjectStore; test/conformance runs one suite on all of them.
 * Every method throws WalkbackError: STORAGE_ACCESS_DENIED for refused credentials, STORAGE_UNREACHABLE for everything that may pass.
 * All writes are durable when they resolve, and atomic: a reader sees the whole object or none.
 */
export interface ObjectStore extends AsyncDisposable {
  /** For people: `s3://bucket/prefix` or `file:///directory`. Never holds credentials. */
  readonly url: string;
  /** Writes an object that fits in memory. @returns 'exists' only with ifAbsent, when the key is taken */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<ObjectInfo | 'exists'>;
  /** Begins an object of unknown length; parts are sent as they fill up. */
  openUpload(key: string, options?: Omit<PutOptions, 'ifAbsent'>): Promise<ObjectUpload>;
  /** Opens an object; resumes within itself when the connection breaks midway. @returns undefined when the store proves that it is absent */
  get(key: string, options?: { readonly range?: ByteRange; readonly signal?: AbortSignal }): Promise<ObjectBody | undefined>;
  /** @returns undefined when the store proves that it is absent */
  head(key: string, options?: { readonly signal?: AbortSignal }): Promise<ObjectInfo | undefined>;
  /** Lists every object whose key starts with the prefix, in the order of the keys' UTF-8 bytes. With `shallow`, only those without a further `/`. */
  list(prefix: string, options?: { readonly shallow?: boolean; readonly signal?: AbortSignal }): AsyncIterable<ObjectInfo>;
  /** Removes objects; a key that is absent is no error. */
  delete(keys: readonly string[]): Promise<void>;
  /** Finds out what the store enforces, by writing `object` and `deeper/object` below the folder, which the caller removes. */
  probe(folder: string): Promise<EnforcedByStore>;
}

/** Reads a whole object of bounded size; again, when it came damaged. @throws RangeError when it is larger than maximumBytes */
export async function readObject(
  store: ObjectStore,
  key: string,
  options: { readonly maximumBytes: number; readonly signal?: AbortSignal },
): Promise<Buffer | undefined> {
  return await repeatWhenDamaged(async () => {
    const object = await store.get(key, options);
    if (object === undefined) return undefined;
    try {
      return await readAll(readerOf(object.body), { sizeBytes: object.info.sizeBytes, maximumBytes: options.maximumBytes });
    } catch (error) {
      throw error instanceof RangeError ? new RangeError(`${store.url}/${key}: ${error.message}`) : error;
    }
  });
}
