import { describe, expect, it } from 'vitest';
import { checkPages } from '../../src/archive/push/page-check.ts';
import { BlockCollector, DamageCollector } from '../../src/archive/push/page-damage.ts';
import { pageFileOf } from '../../src/archive/push/page-file.ts';
import { PageMemory } from '../../src/archive/push/page-memory.ts';
import { patternBytes } from './support/data-directory.ts';

const pageBytes = 8192;

/** PostgreSQL's src/include/storage/checksum_impl.h, one sum after the other. */
function checksumOf(page: Buffer, block: number): number {
  const bytes = Buffer.from(page);
  bytes.writeUInt16LE(0, 8);
  const mix = (sum: number, value: number): number => {
    const mixed = sum ^ value;
    return Math.imul(mixed, 16777619) ^ (mixed >>> 17);
  };
  const sums = [...baseOffsets];
  for (let offset = 0; offset < bytes.length; offset += 4) {
    const column = (offset / 4) % 32;
    sums[column] = mix(sums[column]!, bytes.readUInt32LE(offset));
  }
  const folded = sums.reduce((total, sum) => total ^ mix(mix(sum, 0), 0), 0);
  return (((folded ^ block) >>> 0) % 65535) + 1;
}

const baseOffsets = [
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16,
  0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2,
  0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
];

/** Pages that are right as blocks from 131072 on, at an odd place. */
function goodPages(pageCount: number): { readonly memory: PageMemory; readonly pages: Buffer; readonly block: number } {
  const memory = new PageMemory((pageCount + 1) * pageBytes);
  const pages = memory.buffer(512, pageCount * pageBytes);
  patternBytes(pages.length, 'pages').copy(pages);
  for (let index = 0; index < pageCount; index += 1) {
    const page = pages.subarray(index * pageBytes, (index + 1) * pageBytes);
    page.writeUInt16LE(4000, 14);
    page.writeUInt16LE(checksumOf(page, 131072 + index), 8);
  }
  return { memory, pages, block: 131072 };
}

describe('page checksums', () => {
  it('checksum and goodPages agree with PostgreSQL, whichever byte is wrong', () => {
    const { memory, pages, block } = goodPages(20);
    expect(memory.goodPages(pages, { pageBytes, block })).toBe(20);
    expect(memory.goodPages(pages, { pageBytes, block: block + 1 })).toBe(0);
    expect(memory.checksum(pages.subarray(0, pageBytes), 7)).toBe(checksumOf(pages.subarray(0, pageBytes), 7));
    for (const offset of [0, 9, 13, 127, 128, 4000, 8191]) {
      const at = 11 * pageBytes + offset;
      pages.writeUInt8(pages.readUInt8(at) ^ 0x40, at);
      expect(memory.goodPages(pages, { pageBytes, block })).toBe(11);
      pages.writeUInt8(pages.readUInt8(at) ^ 0x40, at);
    }
    pages.fill(0, 3 * pageBytes, 4 * pageBytes);
    expect(memory.goodPages(pages, { pageBytes, block })).toBe(20);
  });

  it('checkPages reads a torn page again until it is whole, and tells of one that stays wrong', async () => {
    const { memory, pages, block } = goodPages(10);
    const whole = Buffer.from(pages);
    pages.fill(1, 2 * pageBytes + 4096, 3 * pageBytes);
    pages.fill(2, 6 * pageBytes + 4096, 7 * pageBytes);
    const rereads: number[] = [];
    const damaged = new BlockCollector();
    const reread = async (page: Buffer, offsetBytes: number): Promise<void> => {
      rereads.push(offsetBytes / pageBytes);
      if (offsetBytes === 2 * pageBytes && rereads.length === 3) whole.copy(page, 0, offsetBytes, offsetBytes + pageBytes);
    };
    await checkPages(memory, { pages, pageBytes, block, reread }, damaged);
    expect(rereads).toEqual([2, 2, 2, 6, 6, 6, 6, 6]);
    expect(damaged.result()).toEqual({ count: 1, first: [block + 6] });
    expect(pages.subarray(0, 6 * pageBytes).equals(whole.subarray(0, 6 * pageBytes))).toBe(true);
  });

  it('DamageCollector names a bounded number of files and blocks and counts all', () => {
    const collector = new DamageCollector();
    for (let file = 0; file < 150; file += 1) {
      const blocks = new BlockCollector();
      for (let block = 0; block < 20; block += 1) blocks.add(block);
      collector.add(`/base/5/${file}`, blocks.result()!);
    }
    const damage = collector.result()!;
    expect([damage.blockCount, damage.files.length, damage.files[0]?.blocks.length]).toEqual([3000, 100, 10]);
  });

  it('pageFileOf knows the files of relations by their names', () => {
    const format = { segmentBlocks: 131072 };
    expect(pageFileOf('/base/5/16384.3', format)).toEqual({ fork: '16384', firstBlock: 393216 });
    expect(pageFileOf('/global/1262_vm', format)).toEqual({ fork: '1262_vm', firstBlock: 0 });
    expect(pageFileOf('/pg_tblspc/16399/PG_16_202307071/5/16400_init', format)?.fork).toBe('16400_init');
    for (const name of ['/base/5/pg_filenode.map', '/base/5/PG_VERSION', '/pg_xact/0000', '/base/5/t3_16390', '/base/pgsql_tmp/1'])
      expect(pageFileOf(name, format)).toBeUndefined();
  });
});
