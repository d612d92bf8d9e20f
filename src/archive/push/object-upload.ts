/** Streams an object into the store, compressed and encrypted, and says what was stored. */
import { createHash } from 'node:crypto';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { Chunks } from '../compression/codec.ts';
import type { StoredObject } from '../documents/manifest.ts';
import { storedForm, type StoredFormOptions } from '../object-content.ts';

/**
 * Compresses, encrypts and stores the chunks; the SHA-256 is of the stored bytes, of which there are far fewer.
 * A failure or an abort leaves nothing under the key.
 */
export async function uploadObject(
  store: ObjectStore,
  key: string,
  source: StoredFormOptions & { readonly chunks: Chunks; readonly signal: AbortSignal },
): Promise<StoredObject> {
  const upload = await store.openUpload(key, { signal: source.signal });
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    for await (const chunk of storedForm(source.chunks, source)) {
      source.signal.throwIfAborted();
      hash.update(chunk);
      sizeBytes += chunk.length;
      await upload.write(chunk);
    }
    await upload.complete();
  } catch (error) {
    await upload.abort();
    throw error;
  }
  return { key, sizeBytes, sha256: hash.digest('hex') };
}
