import { array, assert as assertProperty, constantFrom, nat, property, record, uint8Array } from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { decompressLz4Block } from '../../src/archive/compression/lz4-block.ts';

/** Pieces that come again, near and far, in runs and alone. */
const contents = array(
  record({ bytes: uint8Array({ minLength: 1, maxLength: 60 }), times: constantFrom(1, 1, 2, 3, 40, 400), gapBytes: nat(300) }),
  { minLength: 1, maxLength: 12 },
).map((pieces) =>
  Buffer.concat(pieces.flatMap(({ bytes, times, gapBytes }) => [...Array.from({ length: times }, () => bytes), Buffer.alloc(gapBytes, 7)])),
);

/** The package puts the size of the content before the block. */
const packed = (content: Buffer, dictionary?: Buffer): Buffer => compressSync(content, dictionary).subarray(4);

function unpacked(block: Buffer, roomBytes: number, window: Buffer = Buffer.alloc(0)): Buffer {
  const output = Buffer.concat([window, Buffer.alloc(roomBytes)]);
  const endBytes = decompressLz4Block(block, { output, startBytes: window.length, windowStartBytes: 0 });
  return output.subarray(window.length, endBytes);
}

function outcomeOf(block: Buffer, roomBytes: number): string {
  try {
    return unpacked(block, roomBytes).length <= roomBytes ? 'fits' : 'too long';
  } catch (error) {
    return error instanceof SyntaxError ? 'refused' : String(error);
  }
}

describe('an LZ4 block', () => {
  it('is unpacked to what was packed', () => {
    assertProperty(
      property(contents, (content) => {
        expect(unpacked(packed(content), content.length).equals(content)).toBe(true);
      }),
    );
  });

  it('reaches back into what came before it', () => {
    const before = Buffer.from(Array.from({ length: 60_000 }, (_, index) => (index * index) % 251));
    const content = before.subarray(1000, 31_000);
    const block = packed(content, before);
    expect(block.length).toBeLessThan(1000);
    expect(unpacked(block, content.length, before).equals(content)).toBe(true);
  });

  it('is refused when it reaches further back than there is anything, or finds no room', () => {
    // One literal, and a match at a distance of two.
    const tooFar = Buffer.from([0x10, 0x61, 2, 0, 0x10, 0x61]);
    expect(() => unpacked(tooFar, 100)).toThrow(SyntaxError);
    expect(unpacked(tooFar, 100, Buffer.from('b')).toString()).toBe('ababaa');
    // What lies before the window is nobody's.
    const place = { output: Buffer.alloc(100), startBytes: 10, windowStartBytes: 10 };
    expect(() => decompressLz4Block(tooFar, place)).toThrow(SyntaxError);
    expect(decompressLz4Block(tooFar, { ...place, windowStartBytes: 9 })).toBe(16);
    const content = Buffer.alloc(1000, 'abc');
    expect(() => unpacked(packed(content), 999)).toThrow(SyntaxError);
  });

  it('is refused, or unpacked to something else, when a byte of it is changed or its end is missing', () => {
    assertProperty(
      property(contents, nat(), nat(254), (content, place, change) => {
        const block = packed(content);
        const changed = Buffer.from(block);
        const at = place % block.length;
        changed.writeUInt8((changed.readUInt8(at) + 1 + change) % 256, at);
        for (const damaged of [changed, block.subarray(0, at)]) expect(outcomeOf(damaged, content.length)).toMatch(/^(refused|fits)$/);
      }),
    );
  });
});
