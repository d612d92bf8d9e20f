/** What the archive asks of an S3 store, counted by the store: requests are what people pay for, and a LIST per segment is what slows other tools. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import { startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import { walSegmentName } from '../../src/domain/wal-segment.ts';
import { createS3ObjectStore } from '../../src/storage/s3-object-store.ts';
import { backupStart, backupStop } from '../../bench/growth/growth-job.ts';
import { temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

const credentials = { accessKeyId: 'requests', secretAccessKey: 'requests-secret' };
const mebibyte = 1024 * 1024;

async function openServer() {
  const server = await startS3Server({ ...credentials, buckets: ['archive'] });
  const store = createS3ObjectStore({ bucket: 'archive', prefix: 'shop', endpoint: server.endpoint, credentials, forcePathStyle: true });
  return {
    store,
    /** What came while the work ran, by S3's names. */
    count: async (work: () => Promise<void>): Promise<Record<string, number>> => {
      const before = new Map(server.requests);
      await work();
      const came = [...server.requests].map(([operation, count]) => [operation, count - (before.get(operation) ?? 0)] as const);
      return Object.fromEntries(came.filter(([, count]) => count > 0));
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

describe('requests to the store', () => {
  it('are one PUT for a segment that is pushed, and one GET for one that is fetched', async () => {
    await using directory = await temporaryDirectory();
    await using server = await openServer();
    const archive = createWalArchive(server.store, { compression: 'zstd', segmentBytes });
    const names = Array.from({ length: 12 }, (_, index) => walSegmentName({ timeline: 1, number: BigInt(index + 1) }, segmentBytes));
    for (const name of names) await writeFile(join(directory.path, name), walSegment({ name }));
    const push = async (name: string) => void (await archive.push({ name, path: join(directory.path, name), systemIdentifier }));
    const [first = '', ...others] = names;
    // The first push also reads what the probe found of the store.
    await push(first);
    expect(await server.count(async () => void (await Promise.all(others.map(push))))).toEqual({ PutObject: others.length });

    const destination = join(directory.path, 'fetched');
    const fetched = server.count(async () => {
      for (const name of names) expect(await archive.fetch({ name, destination, systemIdentifier })).toBe('fetched');
    });
    expect(await fetched).toEqual({ GetObject: names.length });
  });

  it('are fewer than one for 8 MiB of a base backup of 384 MiB that nothing makes smaller, on its way there and back', async () => {
    await using directory = await temporaryDirectory();
    await using server = await openServer();
    const dataDirectory = join(directory.path, 'data');
    await mkdir(join(dataDirectory, 'base/5'), { recursive: true });
    await mkdir(join(dataDirectory, 'global'), { recursive: true });
    await writeFile(join(dataDirectory, 'global/pg_control'), Buffer.alloc(8192, 'control'));
    const sizeMib = 384;
    const hard = randomBytes(32 * mebibyte);
    for (let number = 0; number < sizeMib / 32; number += 1) await writeFile(join(dataDirectory, `base/5/${16384 + number}`), hard);
    const pushed = await server.count(async () => {
      const uploaded = await uploadBaseBackup({
        store: server.store,
        dataDirectory,
        compression: 'zstd',
        start: backupStart,
        stop: async () => backupStop,
      });
      expect(uploaded.backup.compressedBytes).toBeGreaterThan(sizeMib * mebibyte);
      await completeBaseBackup(server.store, uploaded);
    });
    expect(totalOf(pushed)).toBeLessThan(sizeMib / 8);
    expect(pushed['UploadPart']).toBeGreaterThan(0);
    // Nothing of the name was ever stored: a bucket with versions would keep a delete marker of each key that is named.
    expect(pushed['DeleteObjects']).toBeUndefined();

    const into = join(directory.path, 'fetched');
    const fetched = await server.count(async () => {
      await fetchBaseBackup({ store: server.store, backup: backupStart.name, into, stateDirectory: join(into, 'state') });
    });
    expect(totalOf(fetched)).toBeLessThan(sizeMib / 8);
    expect((await readFile(join(into, 'base/5/16384'))).equals(hard)).toBe(true);
  });
});

function totalOf(requests: Readonly<Record<string, number>>): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}
