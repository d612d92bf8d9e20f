/**
 * Evidence of WAL that came under a name which holds other content: the refused file as it would have been stored, and beside it what is known
 * of both. Nothing of it is read by a restore; it lies there until a person has decided which of two servers is wrong.
 */
import { hostname } from 'node:os';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { putDocument, signalOption } from './documents/stored-document.ts';
import { conflictDocumentKey, conflictKey, conflictsPrefix } from './layout.ts';

/** Two servers that archive into one prefix would fill it; what comes later is refused all the same. */
const keptMaximumCount = 64;

/** A file that was refused. */
export interface WalConflict {
  readonly name: string;
  /** The object that holds the other content. */
  readonly key: string;
  /** SHA-256 of the refused file and of the stored one, both uncompressed. */
  readonly sha256: string;
  readonly storedSha256: string;
  readonly path: string;
  readonly systemIdentifier: string | undefined;
  /** RFC 3339: when the refused file was last changed. */
  readonly closedAt: string;
}

interface RefusedFile {
  /** As it would have been stored. */
  readonly stored: Buffer;
  /** Of its compression. */
  readonly extension: string;
  readonly signal?: AbortSignal | undefined;
}

/** Keeps the evidence, and says so in the error to throw: WAL_CONFLICT. */
export async function conflictError(store: ObjectStore, conflict: WalConflict, file: RefusedFile): Promise<WalkbackError> {
  const keptAs = await keepConflict(store, conflict, file).catch(
    // Nothing is lost: PostgreSQL keeps the file, and asks again.
    (error: unknown) => `nothing, because of: ${messageOf(error)}`,
  );
  const { key, path, sha256, storedSha256 } = conflict;
  const kept = keptAs ?? `nothing more: ${keptMaximumCount} are kept already`;
  return new WalkbackError('WAL_CONFLICT', `${store.url}/${key} holds other content than ${path}, which is kept aside as ${kept}.`, {
    facts: { key, path, sha256, storedSha256, keptAs: kept },
  });
}

/**
 * Keeps a refused file; once, however often PostgreSQL asks again.
 * @returns the key; undefined when so many are kept that this one is not
 */
async function keepConflict(store: ObjectStore, conflict: WalConflict, file: RefusedFile): Promise<string | undefined> {
  const { name, sha256 } = conflict;
  const documentKey = conflictDocumentKey(name, sha256);
  const key = conflictKey(name, sha256, file.extension);
  if ((await store.head(documentKey, signalOption(file.signal))) !== undefined) return key;
  let keptCount = 0;
  for await (const { key } of store.list(conflictsPrefix, { shallow: true, ...signalOption(file.signal) })) {
    if (key.endsWith('.json')) keptCount += 1;
    if (keptCount >= keptMaximumCount) return undefined;
  }
  await store.put(key, file.stored, { ifAbsent: true, ...signalOption(file.signal) });
  const document = { version: 1, ...conflict, host: hostname(), seenAt: new Date().toISOString() };
  await putDocument(store, documentKey, { text: JSON.stringify(document), ...signalOption(file.signal) });
  return key;
}
