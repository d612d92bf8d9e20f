import { describe, expect, it } from 'vitest';
import { describeDamage, majorOf } from '../../src/domain/base-backup.ts';

describe('majorOf', () => {
  it('majorOf takes the major version out of server_version_num', () => {
    expect([140_000, 150_018, 160_014, 180_001].map(majorOf)).toEqual([14, 15, 16, 18]);
  });
});

describe('describeDamage', () => {
  it('describeDamage names the first three files with their blocks, and their relations where they are known', () => {
    const files = [
      { file: 'base/5/16384', relation: 'shop.public.orders', blockCount: 2, blocks: [7, 9] },
      ...['base/5/16390', 'global/1260', 'base/5/16400'].map((file) => ({ file, blockCount: 1, blocks: [0] })),
    ];
    expect(describeDamage({ blockCount: 5, files })).toBe(
      '5 pages have a wrong checksum: base/5/16384, shop.public.orders (block 7, 9); base/5/16390 (block 0); global/1260 (block 0); and in 1 more files',
    );
  });
});
