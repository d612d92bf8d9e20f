/** Fetches that are killed at seeded instants and called again: the same tree in the end, and no tar fetched twice that was in place. */
import { spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../../src/archive/base-backup-push.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';
import { contentsOf, makeDataDirectory, patternBytes, start, stopped } from '../../archive/support/data-directory.ts';
import { type ForeignBackup, increment, page, putForeignBackup } from '../../archive/support/foreign-backup.ts';
import { storeIn, temporaryDirectory, watched } from '../../archive/support/temporary.ts';
import { killCount } from './kill-count.ts';

/** The child counts a step for each so many bytes of an object. */
const stepBytes = 256;
const maximumDelayMs = 60;
/** Written past the page cache. */
const largeFileBytes = 20 * 1024 * 1024;
let killedCount = 0;
/** With some tars in place already. */
let killedHalfwayCount = 0;

const fullName = 'base_000000010000000000000002';
const deltaName = 'base_000000010000000000000004_D_000000010000000000000002';
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let store: ObjectStore;
let root: string;
/** What an undisturbed fetch of each backup gives. */
const wanted = new Map<string, Readonly<Record<string, string>>>();
/** Steps that a fetch of it takes. */
const stepCounts = new Map<string, number>();

beforeAll(async () => {
  directory = await temporaryDirectory();
  ({ store, root } = await storeIn(directory.path));
  await makeDataDirectory(join(directory.path, 'source'));
  await writeFile(join(directory.path, 'source', 'base/5/90000'), patternBytes(largeFileBytes, 'past the page cache'));
  const uploaded = await uploadBaseBackup({
    store,
    dataDirectory: join(directory.path, 'source'),
    compression: 'zstd',
    partBytes: 256 * 1024,
    start,
    stop: async () => stopped,
  });
  await completeBaseBackup(store, uploaded);
  for (const backup of chain()) await putForeignBackup(store, backup);
  for (const backup of [start.name, deltaName]) {
    const into = join(directory.path, `wanted-${backup}`);
    await fetchBaseBackup({ store, backup, into, stateDirectory: `${into}-state` });
    wanted.set(backup, await contentsOf(into));
    let storedBytes = 0;
    const read = backup === deltaName ? [fullName, deltaName] : [backup];
    for (const name of read) for await (const { sizeBytes } of store.list(`basebackups_005/${name}`)) storedBytes += sizeBytes;
    stepCounts.set(backup, Math.floor(storedBytes / stepBytes));
  }
});

afterAll(async () => directory[Symbol.asyncDispose]());

/** A full backup and a delta, each of several parts of half a megabyte that do not compress away. */
function chain(): readonly ForeignBackup[] {
  const files = Array.from({ length: 4 }, (_, index) => `/base/5/${index}`);
  const incremented = Object.fromEntries(files.map((file) => [file, { IsIncremented: true }]));
  const tars = (content: (file: string) => Buffer) =>
    Object.fromEntries(files.map((file, index) => [`part_00${index + 1}.tar`, { [file]: content(file) }]));
  const changed = (file: string): Buffer =>
    increment(60 * 8192, Object.fromEntries(Array.from({ length: 50 }, (_, block) => [block, randomBytes(8192, `${file} ${block}`)])));
  const label = { 'backup_label.tar': { backup_label: Buffer.from('label'), tablespace_map: Buffer.from('') } };
  return [
    {
      name: fullName,
      sentinel: { LSN: 100 },
      tars: { ...tars((file) => Buffer.concat([randomBytes(8192 * 70, file), page('z')])), ...label },
      files: {},
    },
    {
      name: deltaName,
      sentinel: { LSN: 200, DeltaFrom: fullName, DeltaFullName: fullName, DeltaLSN: 100, DeltaCount: 1 },
      tars: { ...tars(changed), ...label },
      files: incremented,
    },
  ];
}

describe('a fetch that is killed and called again', () => {
  it.each(Array.from({ length: killCount }, (_, seed) => [seed]))('gives the same files, seed %i', async (seed) => {
    const random = randomOf(seed);
    const backup = seed % 2 === 0 ? start.name : deltaName;
    const into = join(directory.path, `killed-${seed}`);
    const stateDirectory = join(into, 'walkback_restore');
    // Two of three die at the very step, however fast the machine is; the others a moment later, wherever that finds them.
    const delayMs = seed % 3 === 0 ? Math.floor(random() * maximumDelayMs) : 0;
    const kill = [1 + Math.floor(random() * (stepCounts.get(backup) ?? 0)), delayMs].map(String);
    const child = spawn(process.execPath, [join(import.meta.dirname, 'fetch-child.ts'), root, backup, into, ...kill], { stdio: 'inherit' });
    const [exitCode, signal] = (await once(child, 'exit')) as [number | null, string | null];
    expect(signal === 'SIGKILL' || exitCode === 0).toBe(true);
    if (signal === 'SIGKILL') killedCount += 1;
    if (signal === 'SIGKILL' && (await recordedTars(stateDirectory)).length > 0) killedHalfwayCount += 1;
    const done = await recordedTars(stateDirectory);
    const fetched: string[] = [];
    const watching = watched(store, (operation, key) => operation === 'get' && key.includes('/tar_partitions/') && fetched.push(key));
    const result = await fetchBaseBackup({ store: watching, backup, into, stateDirectory, concurrency: 2 });
    expect(result.partsAlreadyFetched).toBe(done.length);
    expect(fetched.filter((key) => done.some((tar) => key.endsWith(tar)))).toEqual([]);
    expect(fetched).toHaveLength(result.parts - done.length);
    await rm(stateDirectory, { recursive: true });
    expect(await contentsOf(into)).toEqual(wanted.get(backup));
    await rm(into, { recursive: true });
  });

  it('was killed in most runs, in some with tars in place', () => {
    expect(killedCount).toBeGreaterThan(killCount / 2);
    expect(killedHalfwayCount).toBeGreaterThan(0);
  });
});

/** `<backup>/tar_partitions/<tar>` of each tar that is recorded to be in place. */
async function recordedTars(stateDirectory: string): Promise<readonly string[]> {
  const parts = join(stateDirectory, 'parts');
  if (!existsSync(parts)) return [];
  const names = await readdir(parts, { recursive: true });
  return names.filter((name) => name.endsWith('.done')).map((name) => name.replace('/', '/tar_partitions/').slice(0, -'.done'.length));
}

/** Bytes that do not compress away, the same for the same seed. */
function randomBytes(sizeBytes: number, seed: string): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(sizeBytes));
}

/** The same numbers for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
