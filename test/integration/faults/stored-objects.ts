/** Objects of a cluster's archive, for tests that look at them or spoil them. */
import { type ObjectStore, readObject } from '../../../src/storage/object-store.ts';
import { openObjectStore } from '../../../src/storage/open-object-store.ts';
import type { DemoSite } from '../../../src/demo/demo-site.ts';

const objectMaximumBytes = 64 * 1024 * 1024;

/** The archive of a cluster of the site. */
export function openArchive(site: DemoSite, cluster: string): ObjectStore {
  return openObjectStore(site.s3.url(cluster), site.s3.settings);
}

/** Keys that begin with the prefix, with the tag of their content. */
export async function listKeys(store: ObjectStore, prefix: string): Promise<ReadonlyMap<string, string | undefined>> {
  const keys = new Map<string, string | undefined>();
  for await (const { key, etag } of store.list(prefix)) keys.set(key, etag);
  return keys;
}

/** Flips one byte in the middle of an object; its own content is back when it is disposed of. */
export async function damage(store: ObjectStore, key: string): Promise<AsyncDisposable> {
  const { bytes, metadata, putBack } = await takeCopy(store, key);
  const damaged = Buffer.from(bytes);
  const middle = Math.floor(damaged.length / 2);
  damaged.writeUInt8(damaged.readUInt8(middle) ^ 0xff, middle);
  await store.put(key, damaged, { metadata });
  return { [Symbol.asyncDispose]: putBack };
}

/** Removes an object; it is back when it is disposed of. */
export async function remove(store: ObjectStore, key: string): Promise<AsyncDisposable> {
  const { putBack } = await takeCopy(store, key);
  await store.delete([key]);
  return { [Symbol.asyncDispose]: putBack };
}

async function takeCopy(store: ObjectStore, key: string) {
  const bytes = await readObject(store, key, { maximumBytes: objectMaximumBytes });
  const info = await store.head(key);
  if (bytes === undefined || info === undefined) throw new Error(`there is no ${key}`);
  const metadata = info.metadata ?? {};
  return { bytes, metadata, putBack: async () => void (await store.put(key, bytes, { metadata })) };
}
