/** Everything that the figures need, on one machine: the demo's site with a larger source, one S3 server, and a place for what is restored. */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { createS3ObjectStore } from '../../src/storage/s3-object-store.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { builtFile } from '../built.ts';
import { BenchSource, sourceSettings } from './source.ts';
import { type BenchS3, startBenchS3 } from './s3.ts';

/** With less room than this, nothing is kept. */
const discardMinimumFreeBytes = 24 * 1024 ** 3;
const removalRetriesMaximum = 20;
const removalRetryDelayMs = 50;

/** A running site. */
export interface BenchSite extends AsyncDisposable {
  readonly demo: DemoSite;
  readonly s3: BenchS3;
  readonly source: BenchSource;
  /** The whole bucket, to look into archives and to empty them. */
  readonly bucket: ObjectStore;
  /** Parent of restored directories; on the disk that the source is on. */
  readonly restoredDirectory: string;
  /** Parent of what was restored and measured, on the same disk. */
  readonly discardedDirectory: string;
  /** For configuration files and spools of the peers. */
  readonly peersDirectory: string;
}

/** Starts it and fills the source. */
export async function startBenchSite(options: { readonly sizeMib: number; readonly signal: AbortSignal }): Promise<BenchSite> {
  await using stack = new AsyncDisposableStack();
  const s3 = stack.use(await startBenchS3());
  const demo = stack.use(
    await startDemoSite({
      withUi: false,
      program: builtFile('cli/main.js'),
      pageChecksums: true,
      settings: sourceSettings,
      startS3: async () => ({ ...s3, close: async () => undefined, [Symbol.asyncDispose]: async () => undefined }),
      signal: options.signal,
    }),
  );
  const bucket = stack.use(createS3ObjectStore({ ...s3.settings, bucket: s3.bucket, prefix: '' }));
  const inside = (name: string): string => join(demo.directory, name);
  const [restoredDirectory, discardedDirectory, peersDirectory] = [inside('restored'), inside('discarded'), inside('peers')];
  for (const directory of [restoredDirectory, discardedDirectory, peersDirectory]) await mkdir(directory, { mode: 0o700 });
  const source = new BenchSource(demo, options.sizeMib);
  await source.fill();
  const owned = stack.move();
  return {
    demo,
    s3,
    source,
    bucket,
    restoredDirectory,
    discardedDirectory,
    peersDirectory,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Removes every object under the prefix, which the wished names narrow down. */
export async function removeObjects(site: BenchSite, prefix: string, wanted: (key: string) => boolean = () => true): Promise<void> {
  const keys = await keysUnder(site, prefix);
  await site.bucket.delete(keys.filter(wanted));
}

/** Keys of all objects under the prefix. */
export async function keysUnder(site: BenchSite, prefix: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of site.bucket.list(prefix)) keys.push(key);
  return keys;
}

/**
 * Puts what was measured out of the way, until the site is closed or the disk fills up. Not removed: ext4 gives no inode out again that was freed in the
 * last minutes, and looks long for others where there are many of them, so that whoever is measured next would pay for the removal.
 */
export async function discard(site: BenchSite, path: string): Promise<void> {
  const { bavail, bsize } = await statfs(site.discardedDirectory);
  if (bavail * bsize < discardMinimumFreeBytes) await removeDirectory(path);
  else await rename(path, join(site.discardedDirectory, randomUUID()));
}

/** Removes a restored directory, and what belongs to it. The agent may still put a file into it, which is tried again. */
export async function removeDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: removalRetriesMaximum, retryDelay: removalRetryDelayMs });
}
