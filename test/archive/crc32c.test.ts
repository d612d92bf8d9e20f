import { crc32c } from '@node-rs/crc32';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileDigest } from '../../src/archive/push/file-digest.ts';
import { PageMemory } from '../../src/archive/push/page-memory.ts';
import { patternBytes } from './support/data-directory.ts';

const memoryBytes = 320 * 1024;

/** The bytes, in a memory of their own that is full of others. */
function inMemory(bytes: Buffer, offsetBytes: number): { readonly memory: PageMemory; readonly content: Buffer } {
  const memory = new PageMemory(memoryBytes);
  memory.buffer(0, memoryBytes).fill(0xa5);
  const content = memory.buffer(offsetBytes, bytes.length);
  bytes.copy(content);
  return { memory, content };
}

/** x to that power, modulo the polynomial of CRC-32C (0x1edc6f41, RFC 3720, section 12.1). */
function powersOfX(count: number): readonly number[] {
  const powers = [1];
  while (powers.length < count) {
    const last = powers.at(-1)!;
    powers.push(((last << 1) ^ (last >>> 31 === 1 ? 0x1edc6f41 : 0)) >>> 0);
  }
  return powers;
}

describe('CRC-32C of what is read into a tar', () => {
  it('is what the library makes of it, whatever its size, its place and what comes before it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 300_000 }),
        fc.integer({ min: 0, max: 70 }),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        (sizeBytes, offsetBytes, before) => {
          const { memory, content } = inMemory(patternBytes(sizeBytes, String(before)), offsetBytes);
          expect(memory.crc32c(content, before)).toBe(crc32c(content, before));
        },
      ),
    );
  });

  it('is right around the sizes at which folding does another round', () => {
    const { memory, content } = inMemory(patternBytes(300_000, 'rounds'), 3);
    const edges = [32 * 1024, 65_536, 65_536 + 5275, 65_536 + 5339, 2 * 65_536 + 5275, 2 * 65_536 + 5339, 4 * 65_536];
    const sizes = edges.flatMap((edge) => [-64, -63, -1, 0, 1, 63, 64].map((more) => edge + more));
    expect(sizes.map((size) => memory.crc32c(content.subarray(0, size), 0))).toEqual(
      sizes.map((size) => crc32c(content.subarray(0, size), 0)),
    );
  });

  it('of a file is the same in pieces', () => {
    const sizes = [90_000, 1, 40_000, 33_000, 0, 100_000];
    const { memory, content } = inMemory(patternBytes(264_000, 'pieces'), 16);
    const [whole, pieces] = [new FileDigest('crc32c'), new FileDigest('crc32c', memory)];
    let from = 0;
    for (const size of sizes) {
      pieces.update(content.subarray(from, from + size));
      whole.update(content.subarray(from, from + size));
      from += size;
    }
    expect(pieces.text()).toBe(whole.text());
  });

  it('rests on the shortest multiple of the polynomial with four terms', () => {
    const degree = 5275;
    const powers = powersOfX(degree + 1);
    const exponentOf = new Map(powers.map((power, exponent) => [power, exponent]));
    const found: number[][] = [];
    for (let high = 1; high <= degree; high += 1) {
      for (let middle = 1; middle < high; middle += 1) {
        const low = exponentOf.get((1 ^ powers[high]! ^ powers[middle]!) >>> 0);
        if (low !== undefined && low < middle && low > 0) found.push([low, middle, high]);
      }
    }
    expect(found).toEqual([[2751, 4508, 5275]]);
  });
});
