/** What the server keeps: bytes in files with random names, and an index by key that is rebuilt from small records beside them. */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { compareKeys } from '../../storage/object-key.ts';
import type { Checksum } from './checksums.ts';
import type { ReceivedBody } from './received-body.ts';

/** Bytes of one put or one part. */
export interface StoredBytes extends ReceivedBody {
  readonly file: string;
}

/** One object. Several files make one of a multipart upload: nothing is copied to complete it. */
export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  /** Without quotes. */
  readonly etag: string;
  readonly lastModified: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly checksum: Checksum | undefined;
  readonly files: readonly { readonly file: string; readonly sizeBytes: number }[];
  /** File name of the record itself. */
  readonly record: string;
}

const recordSuffix = '.json';
const readBufferBytes = 512 * 1024;
const writeBufferBytes = 1024 * 1024;

/** One bucket. Nothing is fsynced: it survives its process, not its machine. */
export class BucketFiles {
  readonly #directory: string;
  readonly #objects = new Map<string, StoredObject>();
  #sortedKeys: readonly string[] | undefined;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Opens a bucket and drops the files that no record names: leavings of a kill. */
  static async open(directory: string): Promise<BucketFiles> {
    const bucket = new BucketFiles(directory);
    await mkdir(directory, { recursive: true });
    const names = await readdir(directory);
    const used = new Set<string>();
    for (const record of names.filter((name) => name.endsWith(recordSuffix))) {
      const object = JSON.parse(await readFile(join(directory, record), 'utf8')) as StoredObject;
      bucket.#objects.set(object.key, object);
      used.add(record);
      for (const { file } of object.files) used.add(file);
    }
    await bucket.removeFiles(names.filter((name) => !used.has(name)));
    return bucket;
  }

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  /** All keys in the order of their UTF-8 bytes. */
  keys(): readonly string[] {
    return (this.#sortedKeys ??= [...this.#objects.keys()].sort(compareKeys));
  }

  /** Writes what `receive` passes on. The file is removed when it throws. */
  async writeBytes(receive: (take: (chunk: Buffer) => Promise<void>) => Promise<ReceivedBody>): Promise<StoredBytes> {
    const file = randomUUID();
    const stream = createWriteStream(join(this.#directory, file), { highWaterMark: writeBufferBytes });
    // Waiting for it throws; while nobody waits, as when the sender is gone and the server closed, there is nobody to be told.
    stream.on('error', () => undefined);
    try {
      const body = await receive(async (chunk) => {
        if (!stream.write(chunk)) await once(stream, 'drain');
      });
      stream.end();
      await once(stream, 'close');
      return { ...body, file };
    } catch (error) {
      stream.destroy();
      await this.removeFiles([file]);
      throw error;
    }
  }

  /** Makes an object visible, unless `mayPlace` refuses at that very instant; then its files are removed. */
  async place(object: Omit<StoredObject, 'record'>, mayPlace: (existing: StoredObject | undefined) => void): Promise<void> {
    const record = `${randomUUID()}${recordSuffix}`;
    const temporary = join(this.#directory, `${record}.tmp`);
    const stored: StoredObject = { ...object, record };
    await writeFile(temporary, JSON.stringify(stored));
    const existing = this.#objects.get(object.key);
    try {
      mayPlace(existing);
    } catch (error) {
      await this.removeFiles([`${record}.tmp`]);
      throw error;
    }
    // No await between the question and the answer: this is what makes conditional writes atomic.
    this.#objects.set(object.key, stored);
    if (existing === undefined) this.#sortedKeys = undefined;
    await rename(temporary, join(this.#directory, record));
    // Replaced or removed meanwhile: its record must not come back at the next start.
    if (this.#objects.get(object.key) !== stored) await this.removeFiles([record]);
    if (existing !== undefined) await this.#removeStored(existing);
  }

  async remove(key: string): Promise<void> {
    const object = this.#objects.get(key);
    if (object === undefined) return;
    this.#objects.delete(key);
    this.#sortedKeys = undefined;
    await this.#removeStored(object);
  }

  /** Reads a part of an object; `endBytes` is exclusive. */
  async *read(object: StoredObject, startBytes: number, endBytes: number): AsyncIterable<Buffer> {
    let fileStartBytes = 0;
    for (const { file, sizeBytes } of object.files) {
      const start = Math.max(startBytes - fileStartBytes, 0);
      const end = Math.min(endBytes - fileStartBytes, sizeBytes);
      if (start < end) {
        const stream = createReadStream(join(this.#directory, file), { start, end: end - 1, highWaterMark: readBufferBytes });
        // A reader that goes away while the file is being opened leaves nobody to be told that it is gone too.
        stream.on('error', () => undefined);
        yield* stream as AsyncIterable<Buffer>;
      }
      fileStartBytes += sizeBytes;
    }
  }

  async removeFiles(files: readonly string[]): Promise<void> {
    await Promise.all(files.map((file) => rm(join(this.#directory, file), { force: true })));
  }

  async #removeStored(object: StoredObject): Promise<void> {
    await this.removeFiles([object.record, ...object.files.map(({ file }) => file)]);
  }
}
