import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, it, vi } from 'vitest';
import { codecs, decompressionOf, readableExtensions } from '../../src/archive/compression.ts';
import { adler32 } from '../../src/archive/compression/adler32.ts';
import type { Chunks } from '../../src/archive/compression/codec.ts';
import { Lz4Memory } from '../../src/archive/compression/lz4-memory.ts';
import { XxHash32, xxHash32 } from '../../src/archive/compression/xxhash32.ts';
import { storedExtensions } from '../../src/archive/layout.ts';
import { patternBytes } from './support/data-directory.ts';
import { collected, cut } from './support/pieces.ts';
import { temporaryDirectory } from './support/temporary.ts';

const text = Buffer.from(Array.from({ length: 40 }, (_, index) => `line ${(index % 7) * index} of a text that repeats\n`).join(''));
/** The text by Python's lzma module (liblzma), FORMAT_ALONE with the dictionary of WAL-G, and end marker. */
const textByLzma =
  'XQAAgAD//////////wA2GkofCKAmA00Gne/tjKE/yDjPbYUvmmiZny/2wMS03PvTAVEQ4OFyyp1YUOMFhlIgzlByiCnkp9FBrHKc3yqto+1L0Y1yrVZjP26FXqGmj3ggHtBzi3zqT6K16O5mjeon+h5cIkMQAUb+KjU8Tg2ejqv+10ZVA3wYn1/KqN9QjQuUvmwQKAAbkbWBR+uju1L//+9IWEA=';
/** A backup history file as WAL-E 1.1.1 stored it. */
const labelByLzop =
  'iUxaTwANChoKEEAgoAlAAQUDAAANAACBgGsD89IAAAAAADlTBKQAAAFtAAAA89NfWeEAElNUQVJUIFdBTCBMT0NBVElPTjogMC8yMDAwMDI4IChmaWxlIHABATAwMDHcAPgABDIpClNUT1Az8wAxMDA/8AAHQ0hFQ0tQT0lOVDDsAQAQNjAKQkFDS1VQIE1FVEhPRDogcGdfc3RhcnRfYmFja3VwCtgDC0ZST006IHByaW1hcnkKtBkAGlRJTUU6IDIwMjYtMTEtMjMgMDg6MDU6MzggVVRDCkxBQkVMOiBmcmVlemVfrAoorQBU7AUKLjQ0MjYwOCswMDowMClgAQRMSU5FOiAxqB86pAEAAUMKU1RPUCBUSU1FTElORTogMQoRAAAAAAAA';

async function read(extension: string, chunks: Chunks): Promise<Buffer> {
  return await collected(decompressionOf(extension, `key.${extension}`).decompress(chunks));
}

function littleEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** The text in each form that is not written by us. */
const foreign: Readonly<Record<string, Buffer>> = {
  lzma: Buffer.from(textByLzma, 'base64'),
  gz: gzipSync(text),
  lzo: Buffer.from(labelByLzop, 'base64'),
};

describe('codecs', () => {
  it.each(Object.entries(codecs))('%s gives back what it compressed, in pieces of any size', async (_name, codec) => {
    const piecesBytes = fc.integer({ min: 1, max: 3000 });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 9000 }), piecesBytes, piecesBytes, async (bytes, writtenBytes, readBytes) => {
        const content = Buffer.from(bytes);
        const stored = await collected(codec.compress(cut(content, writtenBytes)));
        expect((await collected(codec.decompress(cut(stored, readBytes)))).equals(content)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it.each(Object.entries(codecs))('%s gives back 9 MiB of several blocks', async (_name, codec) => {
    const content = Buffer.concat([patternBytes(5 * 1024 * 1024, 'one'), Buffer.alloc(4 * 1024 * 1024)]);
    const stored = await collected(codec.compress(cut(content, 1024 * 1024)));
    expect((await collected(codec.decompress(cut(stored, 64 * 1024)))).equals(content)).toBe(true);
  });

  it('cover the extensions that the layout knows', () => {
    expect(new Set(readableExtensions)).toEqual(storedExtensions);
  });
});

describe('decompressionOf', () => {
  it.each([1, 7, 1000])('reads lzma, gzip and lzo in pieces of %i bytes', async (pieceBytes) => {
    expect((await read('lzma', cut(foreign['lzma']!, pieceBytes))).equals(text)).toBe(true);
    expect((await read('gz', cut(foreign['gz']!, pieceBytes))).equals(text)).toBe(true);
    const label = (await read('lzo', cut(foreign['lzo']!, pieceBytes))).toString();
    expect(label).toContain('START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTOP WAL LOCATION: 0/2000100');
    expect(label).toMatch(/STOP TIMELINE: 1\n$/);
  });

  it.each(['zst', 'lz4', 'br', 'lzma', 'gz', 'lzo'])('refuses %s that ends early or goes on behind its end', async (extension) => {
    const codec = Object.values(codecs).find((candidate) => candidate.extension === extension);
    const stored = foreign[extension] ?? (await collected(codec!.compress([text])));
    for (const keptBytes of [0, 1, 12, stored.length - 5, stored.length - 1])
      await expect(read(extension, [stored.subarray(0, keptBytes)]), `${keptBytes} bytes`).rejects.toThrow(/./);
    await expect(read(extension, [Buffer.concat([stored, Buffer.from('x')])])).rejects.toThrow(/./);
  });

  it.each(['zst', 'lz4', 'lzo', 'gz'])('refuses %s with a flipped bit, wherever it is in the content', async (extension) => {
    const codec = Object.values(codecs).find((candidate) => candidate.extension === extension);
    const stored = foreign[extension] ?? (await collected(codec!.compress([text])));
    for (let offset = Math.ceil(stored.length / 2); offset < stored.length; offset += 3) {
      const flipped = Buffer.from(stored);
      flipped.writeUInt8(flipped.readUInt8(offset) ^ 0x10, offset);
      await expect(read(extension, [flipped]), `byte ${offset}`).rejects.toThrow(/./);
    }
  });

  it('refuses extensions that nobody knows, and says which are readable', () => {
    expect(() => decompressionOf('zip', 'part_001.tar.zip')).toThrow(expect.objectContaining({ code: 'ARCHIVE_FORMAT_UNSUPPORTED' }));
  });
});

it('an LZ4 frame whose blocks reach back into those before them is read, also over one that is stored as it is', async () => {
  const noise = randomBytes(50_000);
  const contents = [noise, Buffer.concat([noise.subarray(100, 40_000), text]), Buffer.concat([text, noise.subarray(20_000, 45_000)])];
  const blocks = contents.map((content, index) => {
    if (index === 0) return [littleEndian(0x80000000 + content.length), content];
    const dictionary = Buffer.concat(contents.slice(0, index)).subarray(-65_536);
    const block = compressSync(content, dictionary).subarray(4);
    expect(block.length).toBeLessThan(content.length / 2);
    return [littleEndian(block.length), block];
  });
  // Version 1, blocks that depend on others, no checksums; blocks of at most 64 KiB.
  const descriptor = Buffer.from([0x40, 0x40]);
  const head = [Buffer.from([0x04, 0x22, 0x4d, 0x18]), descriptor, Buffer.from([(xxHash32(new Lz4Memory(), descriptor) >> 8) & 0xff])];
  const frame = Buffer.concat([...head, ...blocks.flat(), littleEndian(0)]);
  expect((await read('lz4', cut(frame, 1000))).equals(Buffer.concat(contents))).toBe(true);
});

it('LZ4 that ends within a block says how much is missing, and nothing of another frame is taken for it', async () => {
  const stored = await collected(codecs.lz4.compress([text]));
  const blockBytes = stored.readUInt32LE(7);
  for (const takenBytes of [0, 1, blockBytes - 1])
    await expect(read('lz4', cut(stored.subarray(0, 11 + takenBytes), 10))).rejects.toThrow(`ends ${blockBytes - takenBytes} bytes early`);
});

it('LZ4 gives the memory of a packed block back as soon as the next is asked for', async () => {
  const blocks: Buffer[] = [];
  for await (const piece of codecs.lz4.compress(cut(patternBytes(3 * 1024 * 1024, 'one'), 512 * 1024))) {
    expect(blocks.every(({ length }) => length === 0)).toBe(true);
    if (piece.length > 1024) blocks.push(piece);
  }
  expect(blocks).toHaveLength(6);
});

describe.skipIf(!runs('lz4', ['--version']))('the program lz4', () => {
  it('reads what we write', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'x.lz4');
    await writeFile(path, await collected(codecs.lz4.compress([text, patternBytes(5_000_000, 'many')])));
    execFileSync('lz4', ['-dqf', path, join(directory.path, 'x')]);
    expect((await readFile(join(directory.path, 'x'))).equals(Buffer.concat([text, patternBytes(5_000_000, 'many')]))).toBe(true);
  });

  it.each([['-BD'], ['-B4', '-BX'], ['--content-size'], ['-B4D', '-9'], ['--no-frame-crc']])(
    'writes with %s what we read',
    async (...options) => {
      await using directory = await temporaryDirectory();
      const content = Buffer.concat([text, patternBytes(600_000, 'many'), text]);
      await writeFile(join(directory.path, 'x'), content);
      execFileSync('lz4', ['-qf', ...options, join(directory.path, 'x'), join(directory.path, 'x.lz4')]);
      expect((await read('lz4', cut(await readFile(join(directory.path, 'x.lz4')), 10_000))).equals(content)).toBe(true);
    },
  );
});

describe('the memory of LZ4', () => {
  const frame = async (): Promise<Buffer> => await collected(codecs.lz4.compress([text]));
  /** Reads the first piece of so many frames at a time, and gives the readers up. */
  const memoriesOf = async (count: number): Promise<readonly ArrayBufferLike[]> => {
    const stored = await frame();
    const readers = Array.from({ length: count }, () => codecs.lz4.decompress([stored])[Symbol.asyncIterator]());
    const pieces = await Promise.all(readers.map(async (reader) => await reader.next()));
    for (const { value } of pieces) expect(text.equals(value as Buffer)).toBe(true);
    await Promise.all(readers.map(async (reader) => await reader.return?.()));
    return pieces.map(({ value }) => (value as Buffer).buffer);
  };

  it('is one for each frame that is read at a time, and four are used again, also after frames that were given up', async () => {
    const before = await memoriesOf(6);
    expect(new Set(before).size).toBe(6);
    const after = await memoriesOf(6);
    expect(after.filter((memory) => before.includes(memory))).toHaveLength(4);
  });

  it('is given up when no frame is read for a minute', async () => {
    vi.useFakeTimers();
    try {
      const [memory] = await memoriesOf(1);
      vi.advanceTimersByTime(59_000);
      expect((await memoriesOf(1))[0] === memory).toBe(true);
      vi.advanceTimersByTime(59_000);
      expect((await memoriesOf(1))[0] === memory).toBe(true);
      vi.advanceTimersByTime(61_000);
      expect((await memoriesOf(1))[0] === memory).toBe(false);
    } finally {
      vi.useRealTimers();
    }
  });

  it('holds nothing for a frame that another one has left', async () => {
    await memoriesOf(1);
    // One literal, a match at a distance of two, and one literal: the byte before the content is no part of this frame.
    const block = Buffer.from([0x10, 0x61, 2, 0, 0x10, 0x61]);
    const descriptor = Buffer.from([0x40, 0x40]);
    const checksum = Buffer.from([(xxHash32(new Lz4Memory(), descriptor) >> 8) & 0xff]);
    const parts = [Buffer.from([0x04, 0x22, 0x4d, 0x18]), descriptor, checksum, littleEndian(block.length), block, littleEndian(0)];
    await expect(read('lz4', [Buffer.concat(parts)])).rejects.toThrow(SyntaxError);
  });

  it('takes bytes that lie in memory of threads', async () => {
    const content = patternBytes(3 * 1024 * 1024, 'shared');
    const shared = (bytes: Buffer): Buffer => {
      const copy = Buffer.from(new SharedArrayBuffer(bytes.length));
      bytes.copy(copy);
      return copy;
    };
    const stored = await collected(codecs.lz4.compress([shared(content)]));
    expect((await read('lz4', [...cut(shared(stored), 100_001)])).equals(content)).toBe(true);
  });
});

describe('checksums', () => {
  const memory = new Lz4Memory();

  it('xxHash32 and adler32 give the values of their specifications', () => {
    expect(xxHash32(memory, Buffer.from(''))).toBe(0x02cc5d05);
    expect(xxHash32(memory, Buffer.from('a'))).toBe(0x550d7456);
    expect(xxHash32(memory, Buffer.from('Nobody inspects the spammish repetition'))).toBe(0xe2293b2f);
    expect(adler32(Buffer.from('Wikipedia'))).toBe(0x11e60398);
  });

  it('xxHash32 is the same for pieces of any size, in the memory and elsewhere', () => {
    const bytes = Buffer.from(Array.from({ length: 200_003 }, (_, index) => (index * index) % 251));
    const inMemory = memory.content(bytes.length);
    bytes.copy(inMemory);
    const sizes = fc.array(fc.oneof(fc.nat(40), fc.nat(100_000)), { maxLength: 30 });
    fc.assert(
      fc.property(sizes, sizes, (ofOne, ofOther) => {
        const hash = new XxHash32(memory);
        let offset = 0;
        // Two at a time share the memory.
        const other = new XxHash32(memory);
        for (const size of ofOther) other.update(bytes.subarray(0, size));
        for (const [index, size] of ofOne.entries()) {
          const end = Math.min(bytes.length, offset + size);
          hash.update((index % 2 === 0 ? bytes : inMemory).subarray(offset, end));
          other.update(bytes.subarray(0, 16));
          offset = end;
        }
        hash.update(inMemory.subarray(offset));
        // By the code in JavaScript that was here before.
        expect(hash.digest()).toBe(0x26093edd);
      }),
    );
  });
});

function runs(program: string, programArguments: readonly string[]): boolean {
  try {
    execFileSync(program, programArguments, { stdio: 'ignore' });
    return true;
  } catch {
    // Not on this machine: the fixtures and stock wal-g prove the same.
    return false;
  }
}
