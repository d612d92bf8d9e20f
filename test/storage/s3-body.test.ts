import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ByteReader } from '../../src/storage/byte-reader.ts';
import { S3Body } from '../../src/storage/s3-body.ts';
import { md5Base64 } from '../../src/storage/s3-checksums.ts';
import { KeptChecksum } from '../../src/storage/s3-kept-checksum.ts';

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

/** Gives the pieces, one for each call, and fails where it is told to. */
class PiecesReader implements ByteReader {
  readonly #pieces: (Buffer | Error)[];

  constructor(...pieces: (Buffer | Error)[]) {
    this.#pieces = pieces;
  }

  async readInto(target: Uint8Array): Promise<number> {
    const piece = this.#pieces.shift();
    if (piece instanceof Error) throw piece;
    return piece?.copy(target) ?? 0;
  }

  destroy(): void {
    this.#pieces.length = 0;
  }
}

/** A body of "hello", of which the store keeps the MD5 of another text or of this one. */
function checkedBody(keptOf: string, source: PiecesReader, rest?: PiecesReader): S3Body {
  const checksum = KeptChecksum.of({ $metadata: {}, ChecksumMD5: md5Base64(keptOf) });
  const reopen = rest === undefined ? undefined : async () => rest;
  return new S3Body(source, { url: 's3://bucket/key', expectedBytes: 5, stallTimeoutMs, signal: undefined, checksum, reopen });
}

it('does not give the last bytes of an object that is not what the store was given', async () => {
  const body = checkedBody('hellO', new PiecesReader(Buffer.from('hel'), Buffer.from('lo')));
  expect(await body.readInto(Buffer.alloc(3))).toBe(3);
  await expect(body.readInto(Buffer.alloc(5))).rejects.toMatchObject({
    code: 'OBJECT_DAMAGED',
    message: expect.stringMatching(/its MD5 is/),
  });
});

/** Of bytes that come over two connections, both of which break. */
async function readOverTwo(keptOf: string): Promise<{ readonly body: S3Body; readonly outcome: unknown }> {
  const broken = new Error('reset');
  const body = checkedBody(keptOf, new PiecesReader(Buffer.from('hel'), broken), new PiecesReader(Buffer.from('lo'), broken));
  const target = Buffer.alloc(8);
  const read = body.readInto(target).then(
    (sizeBytes) => target.toString('latin1', 0, sizeBytes),
    (error: unknown) => error,
  );
  await vi.advanceTimersByTimeAsync(1000);
  return { body, outcome: await read };
}

it('checks what came over several connections, and needs none once all has come', async () => {
  const { body, outcome } = await readOverTwo('hello');
  expect([outcome, await body.readInto(Buffer.alloc(1))]).toEqual(['hello', 0]);
  expect((await readOverTwo('jello')).outcome).toMatchObject({ code: 'OBJECT_DAMAGED' });
});
