/** Stock wal-g works with our strict S3 server and finds what our stores wrote; that is what the demo and users' migrations rest on. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readObject } from '../../src/storage/object-store.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { startTestS3 } from '../harness/s3.ts';
import type { TestS3 } from '../harness/s3.ts';
import { walG } from '../harness/wal-g.ts';

const segmentName = '000000010000000000000001';
const segmentBytes = 16 * 1024 * 1024;
const maximumBytes = 64 * 1024 * 1024;

describe.skipIf(walG === undefined)('stock wal-g', () => {
  let s3: TestS3;
  let directory: string;

  beforeAll(async () => {
    s3 = await startTestS3();
    directory = await mkdtemp(join(tmpdir(), 'walkback-wal-g-'));
    await mkdir(join(directory, 'pg_wal'));
    await mkdir(join(directory, 'archive'));
    await writeFile(join(directory, 'pg_wal', segmentName), randomBytes(segmentBytes));
    await writeFile(join(directory, 'large'), randomBytes(2 * segmentBytes));
  });
  afterAll(async () => {
    await rm(directory, { recursive: true, force: true });
    await s3.close();
  });

  const run = async (environment: Readonly<Record<string, string>>, ...parameters: string[]): Promise<string> => {
    const env = { PATH: process.env['PATH'], HOME: directory, WALG_COMPRESSION_METHOD: 'zstd', ...environment };
    const { stdout } = await promisify(execFile)(walG ?? '', parameters, { env, maxBuffer: maximumBytes });
    return stdout;
  };

  it('pushes and fetches a segment over S3', async () => {
    const environment = { ...s3.environment, WALG_S3_PREFIX: s3.url('segments') };
    await run(environment, 'wal-push', join(directory, 'pg_wal', segmentName));
    expect(await run(environment, 'st', 'ls', 'wal_005/')).toContain(`${segmentName}.zst`);
    await run(environment, 'wal-fetch', segmentName, join(directory, 'fetched'));
    const [pushed, fetched] = await Promise.all(['pg_wal/' + segmentName, 'fetched'].map((name) => readFile(join(directory, name))));
    expect(fetched?.equals(pushed ?? Buffer.alloc(0))).toBe(true);
  });

  it('puts a multipart object that S3ObjectStore reads, and removes it', async () => {
    const environment = { ...s3.environment, WALG_S3_PREFIX: s3.url('large') };
    await using store = openObjectStore(s3.url('large'), s3.settings);
    await run(environment, 'st', 'put', join(directory, 'large'), 'folder/large', '--no-compress', '--no-encrypt');
    const read = await readObject(store, 'folder/large', { maximumBytes });
    expect(read?.equals(await readFile(join(directory, 'large')))).toBe(true);
    await run(environment, 'st', 'rm', 'folder/large');
    expect(await store.head('folder/large')).toBeUndefined();
  });

  it.each(['S3', 'a directory'])('lists and reads what our store wrote to %s', async (kind) => {
    const url = kind === 'S3' ? s3.url('ours') : join(directory, 'archive');
    const environment: Record<string, string> = kind === 'S3' ? { ...s3.environment, WALG_S3_PREFIX: url } : { WALG_FILE_PREFIX: url };
    await using store = openObjectStore(url, s3.settings);
    await store.put('wal_005/note', Buffer.from('from walkback'), { metadata: { a: 'b' } });
    expect(await run(environment, 'st', 'cat', 'wal_005/note')).toBe('from walkback');
    const listing = await run(environment, 'st', 'ls', 'wal_005/');
    expect(listing.match(/^obj /gm)).toHaveLength(1);
    expect(listing).toContain('note');
  });
});
