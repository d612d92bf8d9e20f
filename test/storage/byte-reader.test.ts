import { array, assert as assertProperty, asyncProperty, integer, nat } from 'fast-check';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type ByteReader, readAll, readerOf, ReadableBytes } from '../../src/storage/byte-reader.ts';

/** Gives a text in pieces of the sizes given, in turn. */
class TextBytes extends ReadableBytes {
  readonly #pieces: number[];
  #left: Buffer;

  constructor(text: string, pieces: readonly number[]) {
    super();
    this.#left = Buffer.from(text);
    this.#pieces = [...pieces];
  }

  override async readInto(target: Uint8Array): Promise<number> {
    let filledBytes = 0;
    while (filledBytes < target.length && this.#left.length > 0) {
      const sizeBytes = this.#left.copy(target, filledBytes, 0, Math.max(1, this.#pieces.shift() ?? 3));
      this.#left = this.#left.subarray(sizeBytes);
      filledBytes += sizeBytes;
    }
    return filledBytes;
  }
}

const text = 'the quick brown fox jumps over the lazy dog';
const makers: readonly (readonly [string, (pieces: readonly number[]) => Readable])[] = [
  ['of bytes that are read on demand', (pieces) => new TextBytes(text, pieces)],
  ['of a stream', () => Readable.from(text.match(/.{1,4}/g)?.map((piece) => Buffer.from(piece)) ?? [])],
];

async function text7(reader: ByteReader): Promise<string> {
  const target = Buffer.alloc(7);
  let read = '';
  for (;;) {
    const sizeBytes = await reader.readInto(target);
    if (sizeBytes === 0) return read;
    read += target.toString('utf8', 0, sizeBytes);
  }
}

describe.each(makers)('a reader %s', (_of, make) => {
  it('gives every byte once, in order, whatever size is promised', async () => {
    await assertProperty(
      asyncProperty(array(integer({ min: 1, max: 50 })), nat(100), async (pieces, sizeBytes) => {
        expect(await text7(readerOf(make(pieces)))).toBe(text);
        const bytes = await readAll(readerOf(make(pieces)), { sizeBytes, maximumBytes: 1000 });
        expect(bytes.toString()).toBe(text);
      }),
    );
  });

  it('is refused when it has more bytes than may come, and is let go of', async () => {
    const body = make([]);
    const refused = readAll(readerOf(body), { sizeBytes: text.length, maximumBytes: text.length - 1 });
    await expect(refused).rejects.toThrow(RangeError);
    expect(body.destroyed).toBe(true);
    const whole = await readAll(readerOf(make([])), { sizeBytes: text.length, maximumBytes: text.length });
    expect(whole.toString()).toBe(text);
  });

  it('is a stream as well', async () => {
    let read = '';
    for await (const piece of make([1, 2, 3]) as AsyncIterable<Buffer>) read += piece.toString();
    expect(read).toBe(text);
  });

  it('fills what it is given, but for the end', async () => {
    const reader = readerOf(make([1, 2, 3]));
    const target = Buffer.alloc(text.length - 1);
    expect([await reader.readInto(target), target.toString()]).toEqual([target.length, text.slice(0, -1)]);
    expect(await reader.readInto(target)).toBe(1);
    expect(await reader.readInto(target)).toBe(0);
  });

  it('lets go of what it reads when it is destroyed midway, also by an error', async () => {
    const body = make([]);
    const reader = readerOf(body);
    await reader.readInto(Buffer.alloc(3));
    reader.destroy(new Error('nobody wants the rest'));
    expect(body.destroyed).toBe(true);
  });
});

it('gives what a stream brought before it broke, says that more is waited for, and throws then', async () => {
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.from('abc');
    throw new Error('the line is cut');
  }
  const reader = readerOf(Readable.from(broken()));
  const target = Buffer.alloc(10);
  let toldCount = 0;
  expect(
    await reader.readInto(target, () => {
      toldCount += 1;
    }),
  ).toBe(3);
  expect(toldCount).toBe(1);
  await expect(reader.readInto(target)).rejects.toThrow('the line is cut');
});
