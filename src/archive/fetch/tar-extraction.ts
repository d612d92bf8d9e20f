/** Fetches one tar of a base backup and puts its files in place, verified. */
import { createHash, type Hash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import type { ObjectInfo, ObjectStore } from '../../storage/object-store.ts';
import type { StoredObject } from '../documents/manifest.ts';
import { damaged } from '../documents/stored-document.ts';
import type { ObjectCipher } from '../encryption/cipher.ts';
import type { TablespaceSpec } from '../documents/tablespace-spec.ts';
import { extensionOfTar } from '../layout.ts';
import { contentReader } from '../object-content.ts';
import { readTar } from '../tar-reader.ts';
import { memberPath, normalizedMemberName } from './member-path.ts';
import { RestoredTree } from './restored-tree.ts';

/** A tar as it is listed, and what our manifest says it must be. */
export interface StoredTar {
  readonly info: ObjectInfo;
  /** Without the folder. */
  readonly fileName: string;
  /** Undefined for backups that WAL-G wrote. */
  readonly expected: StoredObject | undefined;
}

export interface ExtractionOptions {
  readonly store: ObjectStore;
  readonly cipher: ObjectCipher | undefined;
  /** The new data directory. */
  readonly into: string;
  readonly tablespaces: TablespaceSpec | undefined;
  /** Members (without a leading slash) that another tar brings. */
  readonly leaveOut: ReadonlySet<string>;
  /** Members that are put aside first, with the paths where they wait. */
  readonly aside?: ReadonlyMap<string, string>;
  readonly signal: AbortSignal;
  /** Told of stored bytes as they arrive. */
  readonly onBytes: (sizeBytes: number) => void;
}

/**
 * Extracts the tar; when this resolves, every file is verified and durable.
 * @throws WalkbackError OBJECT_DAMAGED naming the key when the object is not what it was written as, DECRYPTION_FAILED, NOT_ENOUGH_DISK; system errors of local files as they are
 */
export async function extractTar(tar: StoredTar, options: ExtractionOptions): Promise<void> {
  const tree = new RestoredTree();
  try {
    const sha256 = await extract(tar, { ...options, tree });
    const { key } = tar.info;
    if (tar.expected !== undefined && sha256 !== tar.expected.sha256)
      throw damaged(key, `its SHA-256 is ${sha256} instead of ${tar.expected.sha256}`);
    await tree.sync();
  } catch (error) {
    throw explained(error, tar, options);
  } finally {
    await tree.settle();
  }
}

/** @returns the SHA-256 of the stored bytes */
async function extract(tar: StoredTar, options: ExtractionOptions & { readonly tree: RestoredTree }): Promise<string> {
  const { key } = tar.info;
  const read = contentReader({ key, extension: extensionOfTar(tar.fileName), cipher: options.cipher });
  const object = await options.store.get(key, { signal: options.signal });
  if (object === undefined) throw damaged(key, 'it was listed and is absent');
  const hash = createHash('sha256');
  const counter = new StoredBytes(hash, options.onBytes);
  await pipeline(counter.counted(object.body as AsyncIterable<Buffer>), read, async (chunks) => writeMembers(chunks, options), {
    signal: options.signal,
  });
  return hash.digest('hex');
}

/** Hashes and tells of what comes from the store, before anything else sees it. */
class StoredBytes {
  readonly #hash: Hash;
  readonly #onBytes: (sizeBytes: number) => void;

  constructor(hash: Hash, onBytes: (sizeBytes: number) => void) {
    this.#hash = hash;
    this.#onBytes = onBytes;
  }

  async *counted(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of body) {
      this.#hash.update(chunk);
      this.#onBytes(chunk.length);
      yield chunk;
    }
  }
}

async function writeMembers(chunks: AsyncIterable<Buffer>, options: ExtractionOptions & { readonly tree: RestoredTree }): Promise<void> {
  const { tree, into, tablespaces, leaveOut } = options;
  for await (const member of readTar(chunks)) {
    const name = normalizedMemberName(member.name);
    if (leaveOut.has(name)) continue;
    const path = options.aside?.get(name) ?? memberPath(name, into, tablespaces);
    if (member.type === 'directory') await tree.directory(path, member.mode);
    // WAL-G stores a link with its own base name as its target (reference: wal-g tar_interpreter.go): it says nothing and is left out.
    else if (member.type === 'file') await tree.file(path, member);
  }
}

/** What went wrong: the local disk, the store, or else the bytes. */
function explained(error: unknown, tar: StoredTar, options: ExtractionOptions): unknown {
  if (options.signal.aborted || error instanceof WalkbackError) return error;
  if (!(error instanceof Error) || !('syscall' in error)) return damaged(tar.info.key, messageOf(error), error);
  const isFull = 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
  return isFull ? new WalkbackError('NOT_ENOUGH_DISK', `${options.into} has no room left: ${error.message}`, { cause: error }) : error;
}
