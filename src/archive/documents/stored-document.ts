/** JSON documents in the archive: never compressed, sealed by us. */
import { messageOf, WalkbackError } from '../../domain/errors.ts';
import { readAll, readerOf } from '../../storage/byte-reader.ts';
import { repeatWhenDamaged } from '../../storage/damaged-reads.ts';
import type { ObjectBody, ObjectStore } from '../../storage/object-store.ts';
import { sealJson, unsealJson } from './sealed-json.ts';

/** Far above a manifest of ten thousand parts. */
const maximumDocumentBytes = 64 * 1024 * 1024;

/** Writes a document. */
export async function putDocument(
  store: ObjectStore,
  key: string,
  options: { readonly text: string; readonly signal?: AbortSignal },
): Promise<void> {
  await store.put(key, Buffer.from(sealJson(options.text)), signalOption(options.signal));
}

/**
 * Reads a document and parses it; again, when it came damaged.
 * @returns undefined when it is absent
 * @throws WalkbackError OBJECT_DAMAGED when it is not what was written, or does not parse
 */
export async function readDocument<T>(
  store: ObjectStore,
  key: string,
  options: { readonly parse: (text: string) => T; readonly signal?: AbortSignal },
): Promise<T | undefined> {
  return await repeatWhenDamaged(async () => {
    const object = await store.get(key, signalOption(options.signal));
    if (object === undefined) return undefined;
    const bytes = await collect(object, maximumDocumentBytes);
    try {
      return options.parse(unsealJson(bytes.toString('utf8')));
    } catch (error) {
      throw damaged(key, messageOf(error), error);
    }
  });
}

/** Reads an object of bounded size. @throws WalkbackError OBJECT_DAMAGED when it is larger */
export async function collect({ info, body }: ObjectBody, maximumBytes: number): Promise<Buffer> {
  try {
    return await readAll(readerOf(body), { sizeBytes: info.sizeBytes, maximumBytes });
  } catch (error) {
    throw error instanceof RangeError ? damaged(info.key, error.message) : error;
  }
}

/** The error about an object that is not what it should be. */
export function damaged(key: string, reason: string, cause?: unknown): WalkbackError {
  return new WalkbackError('OBJECT_DAMAGED', `${key} is damaged: ${reason}.`, {
    facts: { key },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The error about an object whose bytes are not those that were stored. */
export function wrongSha256(key: string, facts: { readonly sha256: string; readonly expected: string | undefined }): WalkbackError {
  return damaged(key, `its SHA-256 is ${facts.sha256} instead of ${facts.expected}`);
}

/** `{ signal }`, or nothing when there is none. */
export function signalOption(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}
