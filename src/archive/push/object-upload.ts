/** Streams an object into the store, compressed and encrypted, and says what was stored. */
import { createHash } from 'node:crypto';
import type { ObjectStore, ObjectUpload } from '../../storage/object-store.ts';
import type { Chunks } from '../compression/codec.ts';
import type { StoredObject } from '../documents/manifest.ts';
import { storedForm, type StoredFormOptions } from '../object-content.ts';

type UploadSource = StoredFormOptions & { readonly chunks: Chunks; readonly signal: AbortSignal };

/** An object of which the store has all bytes. It becomes visible when the upload is completed, which can be tried again; else it has to be aborted. */
export interface SentObject {
  readonly object: StoredObject;
  readonly upload: Pick<ObjectUpload, 'complete' | 'abort'>;
}

/**
 * Compresses, encrypts and stores the chunks; the SHA-256 is of the stored bytes, of which there are far fewer.
 * A failure or an abort leaves nothing under the key.
 */
export async function uploadObject(store: ObjectStore, key: string, source: UploadSource): Promise<StoredObject> {
  const { object, upload } = await sendObject(store, key, source);
  try {
    await upload.complete();
  } catch (error) {
    await upload.abort();
    throw error;
  }
  return object;
}

/** As uploadObject, without the completion of the upload. */
export async function sendObject(store: ObjectStore, key: string, source: UploadSource): Promise<SentObject> {
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
    await upload.flush();
  } catch (error) {
    await upload.abort();
    throw error;
  }
  return { object: { key, sizeBytes, sha256: hash.digest('hex') }, upload };
}
