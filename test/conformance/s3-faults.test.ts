/** What S3ObjectStore makes of the troubles that a real store has now and then. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startS3Server } from '../../src/demo/s3-server/s3-server.ts';
import type { S3Server } from '../../src/demo/s3-server/s3-server.ts';
import type { Fault, FaultInjector } from '../../src/demo/s3-server/faults.ts';
import type { S3Operation } from '../../src/demo/s3-server/s3-request.ts';
import { readObject } from '../../src/storage/object-store.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { createS3ObjectStore } from '../../src/storage/s3-object-store.ts';
import type { S3StoreOptions } from '../../src/storage/s3-options.ts';

const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
const partBytes = 5 * 1024 * 1024;
const maximumBytes = 64 * 1024 * 1024;
const content = randomBytes(3 * 1024 * 1024);

describe('S3ObjectStore', () => {
  let server: S3Server;
  let store: ObjectStore;

  const open = (options: Partial<S3StoreOptions> = {}): ObjectStore =>
    createS3ObjectStore({ bucket: 'b', prefix: 'p', endpoint: server.endpoint, credentials, partBytes, ...options });

  beforeEach(async () => {
    server = await startS3Server({ ...credentials, buckets: ['b'] });
    store = open();
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await server.close();
  });

  it('put succeeds when the store says SlowDown twice', async () => {
    server.faults = onAttempts('PutObject', [1, 2], { kind: 'error', code: 'SlowDown' });
    await store.put('k', content);
    expect(server.requests.get('PutObject')).toBe(3);
    await expectContent(store, content);
  });

  it('put says STORAGE_UNREACHABLE with the store code when SlowDown does not end', async () => {
    server.faults = () => ({ kind: 'error', code: 'SlowDown' });
    await expect(store.put('k', content)).rejects.toMatchObject({
      code: 'STORAGE_UNREACHABLE',
      facts: { storeCode: 'SlowDown', httpStatus: 503 },
    });
  });

  it('put succeeds when the connection breaks before the answer', async () => {
    server.faults = onAttempts('PutObject', [1], { kind: 'reset-before-answer' });
    await store.put('k', content);
    await expectContent(store, content);
  });

  it('put with ifAbsent says exists when its own first answer was lost, so that the caller compares', async () => {
    server.faults = onAttempts('PutObject', [1], { kind: 'lose-answer' });
    expect(await store.put('k', content, { ifAbsent: true })).toBe('exists');
    await expectContent(store, content);
  });

  it.each<Fault>([
    { kind: 'reset-mid-body', afterBytes: 1_000_000 },
    { kind: 'truncate', afterBytes: 1_000_000 },
    { kind: 'stall-mid-body', afterBytes: 1_000_000 },
    { kind: 'truncate', afterBytes: 0 },
  ])('get goes on where the body broke off: %o', async (fault) => {
    await store.put('k', content);
    server.faults = onAttempts('GetObject', [1, 2], fault);
    await using impatient = open({ stallTimeoutMs: 1000 });
    await expectContent(impatient, content);
    expect(server.requests.get('GetObject')).toBe(3);
  });

  it('get goes on within the range that was asked for', async () => {
    await store.put('k', content);
    server.faults = onAttempts('GetObject', [1], { kind: 'reset-mid-body', afterBytes: 500 });
    const object = await store.get('k', { range: { startBytes: 1000, endBytes: 3000 } });
    const chunks: Buffer[] = [];
    for await (const chunk of object!.body as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(content.subarray(1000, 3000).equals(Buffer.concat(chunks))).toBe(true);
  });

  it('get goes on with an object that was uploaded in parts', async () => {
    const upload = await store.openUpload('k');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.complete();
    server.faults = onAttempts('GetObject', [1], { kind: 'reset-mid-body', afterBytes: 7_000_000 });
    await expectContent(store, Buffer.concat([content, content, content, content]));
  });

  it('A11: get notices a stall within stallTimeoutMs', async () => {
    await store.put('k', content);
    await using impatient = open({ stallTimeoutMs: 100 });
    let stalledAtMs = 0;
    server.faults = ({ operation, attempt }) => {
      if (operation !== 'GetObject') return undefined;
      if (attempt === 1) return { kind: 'stall-mid-body', afterBytes: 10 };
      stalledAtMs = performance.now();
      return undefined;
    };
    const startedMs = performance.now();
    await readObject(impatient, 'k', { maximumBytes });
    expect(stalledAtMs - startedMs).toBeGreaterThan(95);
    expect(stalledAtMs - startedMs).toBeLessThan(1500);
  });

  it('get does not take a slow reader for a stall', async () => {
    const large = randomBytes(20 * 1024 * 1024);
    await store.put('k', large);
    await using impatient = open({ stallTimeoutMs: 500 });
    const object = await impatient.get('k');
    let receivedBytes = 0;
    for await (const chunk of object!.body as AsyncIterable<Buffer>) {
      // The reader's own work, longer than the stall timeout; it happens early, while most bytes are still to come.
      if (receivedBytes === 0) await new Promise((resolve) => setTimeout(resolve, 1200));
      receivedBytes += chunk.length;
    }
    expect(receivedBytes).toBe(large.length);
    expect(server.requests.get('GetObject')).toBe(1);
  });

  it('get gives up with STORAGE_UNREACHABLE when every body breaks', async () => {
    await store.put('k', content);
    await using impatient = open({ maxAttempts: 1 });
    server.faults = onEvery('GetObject', { kind: 'truncate', afterBytes: 1000 });
    await expect(readObject(impatient, 'k', { maximumBytes })).rejects.toMatchObject({
      code: 'STORAGE_UNREACHABLE',
      facts: { receivedBytes: 9000, expectedBytes: content.length },
    });
  });

  it('get refuses to mix two contents when the object is replaced midway', async () => {
    await store.put('k', content);
    server.faults = onAttempts('GetObject', [1], { kind: 'stall-mid-body', afterBytes: 1000 });
    await using impatient = open({ stallTimeoutMs: 100 });
    const object = await impatient.get('k');
    await store.put('k', randomBytes(content.length));
    await expect(drain(object!.body)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
  });

  it('get notices a byte that was changed on the way', async () => {
    await store.put('k', content);
    server.faults = onEvery('GetObject', { kind: 'corrupt', atByte: 2_000_000 });
    await expect(readObject(store, 'k', { maximumBytes })).rejects.toMatchObject({
      code: 'OBJECT_DAMAGED',
      message: expect.stringMatching(/Checksum mismatch/),
    });
  });

  it('readObject reads once more when a byte was changed on the way', async () => {
    await store.put('k', content);
    server.faults = onAttempts('GetObject', [1], { kind: 'corrupt', atByte: 2_000_000 });
    expect((await readObject(store, 'k', { maximumBytes }))?.equals(content)).toBe(true);
  });

  it.each<Fault>([{ kind: 'error', code: 'InternalError' }, { kind: 'error-in-200' }, { kind: 'lose-answer' }])(
    'complete succeeds once when the first answer is %o',
    async (fault) => {
      server.faults = onAttempts('CompleteMultipartUpload', [1], fault);
      const upload = await store.openUpload('k');
      for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
      expect(await upload.complete()).toMatchObject({ key: 'k', sizeBytes: 4 * content.length });
      expect(await store.head('k')).toMatchObject({ sizeBytes: 4 * content.length });
    },
  );

  it('complete says STORAGE_UNREACHABLE when the store answers 200 with an error each time, and abort leaves nothing', async () => {
    server.faults = onEvery('CompleteMultipartUpload', { kind: 'error-in-200' });
    const upload = await store.openUpload('k');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await expect(upload.complete()).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    await upload.abort();
    expect(await store.head('k')).toBeUndefined();
    expect(server.requests.get('AbortMultipartUpload')).toBe(1);
  });

  it('complete can be called again when it has failed, and sends nothing twice', async () => {
    server.faults = onEvery('CompleteMultipartUpload', { kind: 'error', code: 'InternalError' });
    const upload = await store.openUpload('k');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.flush();
    const sent = server.requests.get('UploadPart');
    await expect(upload.complete()).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    await expect(upload.complete(AbortSignal.abort(new Error('enough')))).rejects.toMatchObject({ code: 'CANCELLED' });
    server.faults = () => undefined;
    expect(await upload.complete()).toMatchObject({ key: 'k', sizeBytes: 4 * content.length });
    expect(server.requests.get('UploadPart')).toBe(sent);
  });

  it('complete finds what an earlier call has completed without hearing of it', async () => {
    const opened = new AbortController();
    const upload = await store.openUpload('k', { signal: opened.signal });
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.flush();
    const loseAnswer = onAttempts('CompleteMultipartUpload', [1], { kind: 'lose-answer' });
    const failHead = onEvery('HeadObject', { kind: 'error', code: 'InternalError' });
    server.faults = (request) => loseAnswer(request) ?? failHead(request);
    await expect(upload.complete()).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
    opened.abort(new Error('enough'));
    server.faults = () => undefined;
    expect(await upload.complete(new AbortController().signal)).toMatchObject({ key: 'k', sizeBytes: 4 * content.length });
  });

  it('complete says INTERNAL when the store has lost the upload, since trying again would never help', async () => {
    const upload = await store.openUpload('k');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.flush();
    server.faults = onEvery('CompleteMultipartUpload', { kind: 'error', code: 'NoSuchUpload' });
    await expect(upload.complete()).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('s3://b/p/k') });
  });

  it('a part that fails makes a later write and complete fail', async () => {
    server.faults = onEvery('UploadPart', { kind: 'error', code: 'AccessDenied' });
    const upload = await store.openUpload('k');
    const writeAll = async (): Promise<void> => {
      for (let count = 0; count < 20; count++) await upload.write(Buffer.from(content));
    };
    await expect(writeAll()).rejects.toMatchObject({ code: 'STORAGE_ACCESS_DENIED' });
    await expect(upload.complete()).rejects.toMatchObject({ code: 'STORAGE_ACCESS_DENIED' });
    await upload.abort();
  });

  it('write waits while uploadConcurrency parts are in flight', async () => {
    await using narrow = open({ uploadConcurrency: 2 });
    let inFlightMaximumCount = 0;
    server.faults = ({ operation }) => {
      if (operation === 'UploadPart') inFlightMaximumCount++;
      return operation === 'UploadPart' ? { kind: 'delay', delayMs: 300 } : undefined;
    };
    const upload = await narrow.openUpload('k');
    const part = randomBytes(partBytes);
    for (let count = 0; count < 3; count++) await upload.write(part);
    const fourth = upload.write(part);
    expect(await Promise.race([fourth.then(() => 'taken'), server.connectionCount().then(() => 'waiting')])).toBe('waiting');
    await fourth;
    await upload.complete();
    expect(inFlightMaximumCount).toBe(4);
  });

  it('a request that is not answered in requestTimeoutMs ends with STORAGE_UNREACHABLE', async () => {
    await using impatient = open({ requestTimeoutMs: 100, maxAttempts: 1 });
    server.faults = onEvery('HeadObject', { kind: 'delay', delayMs: 3000 });
    const startedMs = performance.now();
    await expect(impatient.head('k')).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE', retryable: true });
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  it('put ends with CANCELLED when its signal is set while it waits', async () => {
    const controller = new AbortController();
    server.faults = () => {
      controller.abort();
      return { kind: 'delay', delayMs: 3000 };
    };
    await expect(store.put('k', content, { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('head does not take the 404 of something that is no S3 store for absence', async () => {
    server.faults = () => ({ kind: 'error', code: 'NoSuchBucket' });
    await expect(store.head('k')).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });

  it.each(['MethodNotAllowed', 'InvalidRequest', 'NotImplemented'] as const)(
    'delete falls back to single requests when batches end in %s',
    async (code) => {
      server.faults = onEvery('DeleteObjects', { kind: 'error', code });
      const keys = Array.from({ length: 30 }, (_, index) => `k${index}`);
      for (const key of keys) await store.put(key, Buffer.from('x'));
      await store.delete(keys);
      await store.delete(['once-more']);
      expect(server.requests.get('DeleteObject')).toBe(31);
      expect(await first(store.list(''))).toBeUndefined();
    },
  );

  it('keeps no socket when it is closed, whatever happened to its bodies', async () => {
    await store.put('k', content);
    const opened = await Promise.all(Array.from({ length: 8 }, () => store.get('k')));
    for (const object of opened.slice(0, 4)) object?.body.destroy();
    for (const object of opened.slice(4)) await drain(object!.body);
    await store[Symbol.asyncDispose]();
    await expect.poll(() => server.connectionCount(), { timeout: 5000 }).toBe(0);
  });

  it('frees the socket of a body that is destroyed unread', async () => {
    await store.put('k', content);
    for (let count = 0; count < 100; count++) (await store.get('k'))?.body.destroy();
    await expectContent(store, content);
  });

  it('works with checksums only when required, also from memory that threads share', async () => {
    await using plain = open({ checksums: 'when-required' });
    const shared = Buffer.from(new SharedArrayBuffer(content.length));
    content.copy(shared);
    await plain.put('k', shared);
    await expectContent(plain, content);
    const upload = await plain.openUpload('k');
    for (let count = 0; count < 4; count++) await upload.write(Buffer.from(content));
    await upload.complete();
    expect((await readObject(plain, 'k', { maximumBytes }))?.length).toBe(4 * content.length);
    await plain.delete(['k']);
  });
});

function onEvery(operation: S3Operation, fault: Fault): FaultInjector {
  return (request) => (request.operation === operation ? fault : undefined);
}

function onAttempts(operation: S3Operation, attempts: readonly number[], fault: Fault): FaultInjector {
  return (request) => (request.operation === operation && attempts.includes(request.attempt) ? fault : undefined);
}

/** toEqual goes through large buffers element by element. */
async function expectContent(store: ObjectStore, expected: Buffer): Promise<void> {
  const actual = await readObject(store, 'k', { maximumBytes });
  expect(actual?.length).toBe(expected.length);
  expect(actual?.equals(expected)).toBe(true);
}

async function drain(body: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of body);
}

async function first(items: AsyncIterable<unknown>): Promise<unknown> {
  for await (const item of items) return item;
  return undefined;
}
