/** JSON documents of the archive that are too large to hold, read while they come. */
import { createHash } from 'node:crypto';
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { type JsonEvents, JsonScanner } from './json-scanner.ts';
import { damaged, wrongSha256 } from './stored-document.ts';

/** Who is told, and what the bytes must be. */
export interface StoredJsonOptions {
  readonly listener: JsonEvents;
  /** Undefined: not checked, but for its form. */
  readonly expectedSha256: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Reads a document and tells the listener of it; what it was told is right only once this has resolved.
 * @returns false when the object is absent
 * @throws WalkbackError OBJECT_DAMAGED naming the key; what the listener and the store throw
 */
export async function scanStoredJson(store: ObjectStore, key: string, options: StoredJsonOptions): Promise<boolean> {
  const { listener, expectedSha256, signal } = options;
  const object = await store.get(key, { signal });
  if (object === undefined) return false;
  const scanner = new JsonScanner(listener);
  const hash = createHash('sha256');
  try {
    for await (const chunk of object.body as AsyncIterable<Buffer>) {
      hash.update(chunk);
      scanner.push(chunk);
    }
    scanner.finish();
  } catch (error) {
    throw error instanceof WalkbackError ? error : damaged(key, messageOf(error), error);
  }
  const sha256 = hash.digest('hex');
  if (expectedSha256 !== undefined && sha256 !== expectedSha256) throw wrongSha256(key, { sha256, expected: expectedSha256 });
  return true;
}
