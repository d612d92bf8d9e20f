/** Directories and stores that last as long as one test. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFileObjectStore } from '../../../src/storage/file-object-store.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';

/** A directory that is removed at the end of its scope. */
export async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'walkback-archive-'));
  return { path, [Symbol.asyncDispose]: async () => rm(path, { recursive: true, force: true }) };
}

/** A store in a directory of its own. */
export async function storeIn(directory: string): Promise<{ readonly store: ObjectStore; readonly root: string }> {
  const root = join(directory, 'archive');
  await mkdir(root, { recursive: true });
  return { store: createFileObjectStore({ directory: root }), root };
}

/** The same store, telling of every get; `before` may throw in its place. */
export function watched(store: ObjectStore, before: (operation: 'get' | 'put' | 'upload' | 'list', key: string) => void): ObjectStore {
  const tell = (operation: 'get' | 'put' | 'upload' | 'list', key: string): void => before(operation, key);
  return {
    url: store.url,
    put: async (key, bytes, options) => {
      tell('put', key);
      return store.put(key, bytes, options);
    },
    openUpload: async (key, options) => {
      tell('upload', key);
      return store.openUpload(key, options);
    },
    get: async (key, options) => {
      tell('get', key);
      return store.get(key, options);
    },
    head: async (key, options) => store.head(key, options),
    list: (prefix, options) => {
      tell('list', prefix);
      return store.list(prefix, options);
    },
    delete: async (keys) => store.delete(keys),
    probe: async (folder) => store.probe(folder),
    [Symbol.asyncDispose]: async () => store[Symbol.asyncDispose](),
  };
}

/** A store of a directory, of which every object comes with a wrong byte when it is read first, and as it is from then on; and how often each was read. */
export function damagedAtFirst(
  store: ObjectStore,
  root: string,
): { readonly troubled: ObjectStore; readonly reads: ReadonlyMap<string, number> } {
  const reads = new Map<string, number>();
  const troubled = watched(store, (operation, key) => {
    if (operation !== 'get' || !existsSync(join(root, key))) return;
    const count = (reads.get(key) ?? 0) + 1;
    reads.set(key, count);
    // The second read puts back what the first has changed.
    if (count <= 2) flipMiddleByte(join(root, key));
  });
  return { troubled, reads };
}

/** At once, so that nothing else is read in between. */
function flipMiddleByte(path: string): void {
  const bytes = readFileSync(path);
  const position = Math.floor(bytes.length / 2);
  bytes.writeUInt8((bytes[position] ?? 0) ^ 0x01, position);
  writeFileSync(path, bytes);
}

/** Keys of a prefix. */
export async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}
