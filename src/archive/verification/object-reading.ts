/** Reads stored objects whole, and says what is wrong with their bytes. */
import { createHash } from 'node:crypto';
import type { Finding } from '../../domain/archive-findings.ts';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { walFileKind } from '../../domain/wal-segment.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { StoredObject } from '../documents/manifest.ts';
import { extensionOfTar, tarPartitionsPrefix } from '../layout.ts';
import { TarReader } from '../tar-reader.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import { contentReader } from '../object-content.ts';
import type { WalArchive } from '../wal-archive.ts';
import { damagedObject, missingObject } from './backup-objects.ts';

/** An object to read: a part or document of a backup, or a WAL file. */
export type ReadItem =
  | {
      readonly kind: 'backup-object';
      readonly key: string;
      readonly sizeBytes: number;
      readonly backup: string;
      /** Undefined where another tool wrote the backup: then it is read as a tar to its end. */
      readonly expected: StoredObject | undefined;
    }
  | { readonly kind: 'wal'; readonly key: string; readonly sizeBytes: number; readonly name: string };

/** What objects are read with. */
export interface ObjectReading {
  readonly store: ObjectStore;
  readonly cipher: ObjectCipher | undefined;
  readonly archive: WalArchive;
  /** Decimal; undefined: not checked. */
  readonly systemIdentifier: string | undefined;
  readonly onBytes: (sizeBytes: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Reads an object to its end, and once more when it came damaged: it may have been so on the way only. An object that is gone is reported as missing; whether it may be gone is the caller's to know.
 * @throws WalkbackError for what is no property of the object: a store that does not answer
 */
export async function readStoredObject(item: ReadItem, reading: ObjectReading): Promise<Finding | undefined> {
  const finding = await readOnce(item, reading);
  return finding?.kind === 'object-damaged' ? await readOnce(item, { ...reading, onBytes: () => undefined }) : finding;
}

async function readOnce(item: ReadItem, reading: ObjectReading): Promise<Finding | undefined> {
  try {
    return item.kind === 'wal' ? await readWal(item, reading) : await readBackupObject(item, reading);
  } catch (error) {
    reading.signal.throwIfAborted();
    if (isOfStore(error)) throw error;
    return damagedObject(item.kind === 'wal' ? undefined : item.backup, item.key, messageOf(error));
  }
}

/** A store or a disk that does not answer is no property of the object. */
function isOfStore(error: unknown): boolean {
  if (error instanceof WalkbackError) return error.retryable || error.code === 'STORAGE_ACCESS_DENIED';
  return error instanceof Error && 'syscall' in error;
}

/** The header must fit the name, the content its SHA-256 where one was recorded (`WalArchive.read`). */
async function readWal(item: ReadItem & { readonly kind: 'wal' }, reading: ObjectReading): Promise<Finding | undefined> {
  const { archive, systemIdentifier, signal } = reading;
  const ofSegment = walFileKind(item.name) === 'segment' ? { systemIdentifier } : {};
  const bytes = await archive.read(item.name, { ...ofSegment, signal });
  reading.onBytes(item.sizeBytes);
  if (bytes !== undefined) return undefined;
  return { kind: 'object-missing', severity: 'error', key: item.key, text: `${item.key} was listed and is missing.` };
}

async function readBackupObject(item: ReadItem & { readonly kind: 'backup-object' }, reading: ObjectReading): Promise<Finding | undefined> {
  const { store, signal } = reading;
  const object = await store.get(item.key, { signal });
  if (object === undefined) return missingObject(item.backup, item.key, item.sizeBytes);
  try {
    if (item.expected === undefined) return await readUnrecorded(item, object.body as AsyncIterable<Buffer>, reading);
    const hash = createHash('sha256');
    for await (const chunk of object.body as AsyncIterable<Buffer>) {
      hash.update(chunk);
      reading.onBytes(chunk.length);
    }
    const sha256 = hash.digest('hex');
    return sha256 === item.expected.sha256
      ? undefined
      : damagedObject(item.backup, item.key, `its SHA-256 is ${sha256} instead of ${item.expected.sha256}`);
  } finally {
    object.body.destroy();
  }
}

/** The checksums of the compression, and the form of the tar, are all there is to check. */
async function readUnrecorded(
  item: ReadItem & { readonly kind: 'backup-object' },
  body: AsyncIterable<Buffer>,
  { onBytes, cipher }: ObjectReading,
): Promise<undefined> {
  const tars = tarPartitionsPrefix(item.backup);
  const counted = countedBytes(body, onBytes);
  if (!item.key.startsWith(tars)) await readToEnd(counted);
  else {
    const read = contentReader({ key: item.key, extension: extensionOfTar(item.key.slice(tars.length)), cipher });
    const tar = new TarReader(() => undefined);
    for await (const piece of read(counted)) tar.push(piece);
    tar.finish();
  }
  return undefined;
}

async function readToEnd(pieces: AsyncIterable<unknown>): Promise<void> {
  for await (const _piece of pieces);
}

async function* countedBytes(body: AsyncIterable<Buffer>, onBytes: (sizeBytes: number) => void): AsyncGenerator<Buffer> {
  for await (const chunk of body) {
    onBytes(chunk.length);
    yield chunk;
  }
}
