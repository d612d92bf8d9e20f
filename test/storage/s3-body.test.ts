import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ByteReader } from '../../src/storage/byte-reader.ts';
import { S3Body } from '../../src/storage/s3-body.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const stallTimeoutMs = 1000;

/** Says every so often that a byte came, and gives all of them when the target is full; a destroyed one fails. */
class SlowReader implements ByteReader {
  readonly #intervalMs: number;
  #fail: ((error: Error) => void) | undefined;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  async readInto(target: Uint8Array, onBytes?: () => void): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#fail = reject;
    let filledBytes = 0;
    const timer = setInterval(() => {
      filledBytes += 1;
      if (filledBytes < target.length) onBytes?.();
      else resolve(filledBytes);
    }, this.#intervalMs);
    return await promise.finally(() => clearInterval(timer));
  }

  destroy(error: Error = new Error('destroyed')): void {
    this.#fail?.(error);
  }
}

function bodyOf(intervalMs: number): S3Body {
  const url = 's3://bucket/key';
  return new S3Body(new SlowReader(intervalMs), { url, expectedBytes: 5, stallTimeoutMs, signal: undefined, reopen: undefined });
}

it('waits for bytes that come slowly, as long as they come', async () => {
  let toldCount = 0;
  const read = bodyOf(stallTimeoutMs - 1).readInto(Buffer.alloc(5), () => {
    toldCount += 1;
  });
  await vi.advanceTimersByTimeAsync(5 * stallTimeoutMs);
  expect([await read, toldCount]).toEqual([5, 4]);
});

it('takes a pause of stallTimeoutMs for the end of the connection', async () => {
  const read = bodyOf(stallTimeoutMs + 1).readInto(Buffer.alloc(5));
  const failure = read.catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(stallTimeoutMs);
  expect(await failure).toMatchObject({ code: 'STORAGE_UNREACHABLE', message: expect.stringMatching(/no byte came for 1000 ms/) });
});
