import { array, assert as assertProperty, constantFrom, integer, nat, property, record, uint8Array } from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { Lz4Memory } from '../../src/archive/compression/lz4-memory.ts';
import { lz4Module } from '../../src/archive/compression/lz4-module.ts';

const memory = new Lz4Memory();
/** All of it, also what lies around the rooms. */
const whole = Buffer.from(memory.content(0).buffer);
const contentOffset = memory.content(0).byteOffset;
const packedOffset = memory.packed(0).byteOffset;
/** So much behind an end is nobody's. */
const vectorBytes = 16;

/** Pieces that come again, near and far, in runs and alone. */
const contents = array(
  record({ bytes: uint8Array({ minLength: 1, maxLength: 60 }), times: constantFrom(1, 1, 2, 3, 40, 400), gapBytes: nat(300) }),
  { minLength: 1, maxLength: 12 },
).map((pieces) =>
  Buffer.concat(pieces.flatMap(({ bytes, times, gapBytes }) => [...Array.from({ length: times }, () => bytes), Buffer.alloc(gapBytes, 7)])),
);

/** The package puts the size of the content before the block. */
const packed = (content: Buffer, dictionary?: Buffer): Buffer => compressSync(content, dictionary).subarray(4);

/** So much is looked at before the content, window included, and behind each end. */
const [lookedBeforeBytes, lookedBehindBytes] = [64 * 1024, 4096];

/** What lies around the content and the block is `around`. Checks that nothing is written but content. */
function unpacked(block: Buffer, maximumBytes: number, { window = Buffer.alloc(0), around = 0xaa } = {}): Buffer {
  const touchedEnd = contentOffset + maximumBytes + vectorBytes;
  const untouched = [
    whole.subarray(0, 512),
    whole.subarray(contentOffset - lookedBeforeBytes, contentOffset),
    whole.subarray(touchedEnd, touchedEnd + lookedBehindBytes),
    whole.subarray(packedOffset, packedOffset + block.length + lookedBehindBytes),
  ];
  for (const part of untouched.slice(1)) part.fill(around);
  window.copy(whole, contentOffset - window.length);
  block.copy(whole, packedOffset);
  const before = untouched.map((part) => Buffer.from(part));
  try {
    return Buffer.from(memory.decompress(block.length, { maximumBytes, windowBytes: window.length }));
  } finally {
    expect(untouched.every((part, index) => part.equals(before[index]!))).toBe(true);
  }
}

function outcomeOf(block: Buffer, maximumBytes: number, around?: number): string {
  try {
    return unpacked(block, maximumBytes, around === undefined ? {} : { around }).toString('hex');
  } catch (error) {
    return error instanceof SyntaxError ? 'refused' : String(error);
  }
}

/** What the format's description says, byte by byte: the content in hexadecimal digits, or a refusal. */
function byTheBook(block: Buffer, maximumBytes: number): string {
  const content: number[] = [];
  let read = 0;
  const byte = (): number => block[read++] ?? Number.NaN;
  const lengthOf = (field: number): number => {
    let length = field;
    if (field === 15) for (let more = 255; more === 255; length += more) more = byte();
    return length;
  };
  for (;;) {
    const token = byte();
    const literals = lengthOf(token >> 4);
    if (!(read + literals <= block.length)) return 'refused';
    for (let index = 0; index < literals; index += 1) content.push(byte());
    if (content.length > maximumBytes) return 'refused';
    if (read === block.length) return Buffer.from(content).toString('hex');
    const distance = byte() + byte() * 256;
    const matched = lengthOf(token & 15) + 4;
    if (!(distance > 0 && distance <= content.length && content.length + matched <= maximumBytes && read < block.length)) return 'refused';
    for (let index = 0; index < matched; index += 1) content.push(content.at(-distance) ?? 0);
  }
}

/** A length as a token's field, and the bytes that add to it. */
function lengthField(length: number): { readonly field: number; readonly more: readonly number[] } {
  if (length < 15) return { field: length, more: [] };
  return { field: 15, more: [...Array.from({ length: Math.floor((length - 15) / 255) }, () => 255), (length - 15) % 255] };
}

/** Literals, a match, and one literal more. */
function sequenceOf(literals: Buffer, distance: number, matchBytes: number): Buffer {
  const [first, second] = [lengthField(literals.length), lengthField(matchBytes - 4)];
  const token = (first.field << 4) | second.field;
  return Buffer.from([token, ...first.more, ...literals, distance & 0xff, distance >> 8, ...second.more, 0x10, 0x21]);
}

describe('an LZ4 block', () => {
  it('is unpacked to what was packed', () => {
    assertProperty(
      property(contents, (content) => {
        expect(unpacked(packed(content), content.length).equals(content)).toBe(true);
      }),
    );
  });

  it('of 4 MiB is unpacked, packed and as it does not pack', () => {
    const content = Buffer.alloc(4 * 1024 * 1024, 'a text that repeats, at a distance that no vector divides');
    expect(unpacked(packed(content), content.length).equals(content)).toBe(true);
    const literals = content.subarray(0, 4_000_000);
    const { more } = lengthField(literals.length);
    const block = Buffer.concat([Buffer.from([0xf0, ...more]), literals]);
    expect(unpacked(block, literals.length).equals(literals)).toBe(true);
  });

  it.each(Array.from({ length: 40 }, (_, index) => index + 1))('repeats what lies %i bytes before', (distance) => {
    const literals = Buffer.from(Array.from({ length: distance + 3 }, (_, index) => 0x41 + index));
    for (const matchBytes of [...Array.from({ length: 70 }, (_, index) => index + 4), 273, 274, 1000, 70_000]) {
      const block = sequenceOf(literals, distance, matchBytes);
      const outputBytes = literals.length + matchBytes + 1;
      expect(outcomeOf(block, outputBytes), `${matchBytes} bytes`).toBe(byTheBook(block, outputBytes));
      expect(outcomeOf(block, outputBytes - 1), `${matchBytes} bytes`).toBe('refused');
      expect(outcomeOf(block, literals.length + matchBytes - 1), `${matchBytes} bytes`).toBe('refused');
    }
  });

  it('has literals of every length', () => {
    for (const literalBytes of [...Array.from({ length: 70 }, (_, index) => index), 269, 270, 271, 1000]) {
      const literals = Buffer.from(Array.from({ length: literalBytes }, (_, index) => index % 251));
      const { field, more } = lengthField(literalBytes);
      const block = Buffer.from([field << 4, ...more, ...literals]);
      expect(unpacked(block, literalBytes).equals(literals)).toBe(true);
      expect(outcomeOf(block, Math.max(0, literalBytes - 1))).toBe(literalBytes === 0 ? '' : 'refused');
    }
  });

  it('reaches back into what came before it', () => {
    const before = Buffer.from(Array.from({ length: 60_000 }, (_, index) => (index * index) % 251));
    const content = before.subarray(1000, 31_000);
    const block = packed(content, before);
    expect(block.length).toBeLessThan(1000);
    expect(unpacked(block, content.length, { window: before }).equals(content)).toBe(true);
  });

  it('is refused when it reaches further back than there is anything, or finds no room', () => {
    // One literal, and a match at a distance of two.
    const tooFar = Buffer.from([0x10, 0x61, 2, 0, 0x10, 0x61]);
    expect(() => unpacked(tooFar, 100)).toThrow(SyntaxError);
    expect(unpacked(tooFar, 100, { window: Buffer.from('b') }).toString()).toBe('ababaa');
    expect(() => unpacked(Buffer.from([0x10, 0x61, 0, 0, 0x10, 0x61]), 100)).toThrow(SyntaxError);
    const content = Buffer.alloc(1000, 'abc');
    expect(() => unpacked(packed(content), 999)).toThrow(SyntaxError);
  });

  it('is refused when it is empty, ends with a match, or ends within a length', () => {
    for (const bytes of [[], [0x10, 0x61, 1, 0], [0x10, 0x61, 1], [0xf0], [0xf0, 255], [0x1f, 0x61, 1, 0], [0x1f, 0x61, 1, 0, 255]]) {
      expect(outcomeOf(Buffer.from(bytes), 1000, 0x00), `block ${bytes.join()}`).toBe('refused');
      expect(outcomeOf(Buffer.from(bytes), 1000, 0x10), `block ${bytes.join()}`).toBe('refused');
    }
  });

  it('is refused, or unpacked to what it says, when a byte of it is changed or its end is missing, whatever lies around it', () => {
    assertProperty(
      property(contents, nat(), nat(254), integer({ min: 0, max: 255 }), (content, place, change, around) => {
        const block = packed(content);
        const changed = Buffer.from(block);
        const at = place % block.length;
        changed.writeUInt8((changed.readUInt8(at) + 1 + change) % 256, at);
        for (const damaged of [changed, block.subarray(0, at)])
          expect(outcomeOf(damaged, content.length, around)).toBe(byTheBook(damaged, content.length));
      }),
    );
  });

  it('is refused, or unpacked to what it says, when it is noise', () => {
    assertProperty(
      property(array(constantFrom(0x10, 0x1f, 0xf0, 0x40, 0, 1, 2, 255), { maxLength: 40 }), nat(300), (bytes, maximumBytes) => {
        const block = Buffer.from(bytes);
        expect(outcomeOf(block, maximumBytes)).toBe(byTheBook(block, maximumBytes));
      }),
      { numRuns: 300 },
    );
  });

  it('that is damaged lets nothing be read behind its end but a vector: at the end of a memory, that would be a trap', () => {
    const small = new WebAssembly.Memory<ArrayBuffer>({ initial: 3, maximum: 3, shared: false });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(lz4Module, 'base64')), { walkback: { memory: small } });
    const decompress = exports['decompress'] as (...places: readonly number[]) => number;
    const bytes = Buffer.from(small.buffer);
    const [windowStart, start, end, inputEnd] = [1024, 60_000, 120_000, bytes.length - vectorBytes];
    const manyLiterals = [0xf0, ...lengthField(50_000).more, 0x61];
    for (const block of [[], [0x10, 0x61, 1, 0], [0xf0], [0xf0, 255], [0x1f, 0x61, 1, 0], [0x1f, 0x61, 1, 0, 255], manyLiterals])
      for (const around of [0x00, 0x01, 0x10, 0xff]) {
        bytes.fill(around, end);
        Buffer.from(block).copy(bytes, inputEnd - block.length);
        expect(decompress(inputEnd - block.length, inputEnd, start, end, windowStart), `${block.join()} ${around}`).toBe(0);
      }
  });

  it('and what belongs to it have room within the memory', () => {
    expect(packedOffset).toBeGreaterThanOrEqual(contentOffset + 4 * 1024 * 1024 + vectorBytes);
    expect(whole.length).toBeGreaterThanOrEqual(packedOffset + 4 * 1024 * 1024 + vectorBytes);
    expect(() => memory.packed(4 * 1024 * 1024 + 1)).toThrow(RangeError);
    expect(() => memory.content(4 * 1024 * 1024 + 1)).toThrow(RangeError);
  });
});
