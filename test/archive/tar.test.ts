import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packIntoParts } from '../../src/archive/tar-partition.ts';
import { TarReader } from '../../src/archive/tar-reader.ts';
import { tarEnd, tarHeader } from '../../src/archive/tar-writer.ts';
import { tarOf } from './support/tar.ts';
import { temporaryDirectory } from './support/temporary.ts';

async function membersOf(bytes: Buffer, chunkBytes = 1000) {
  const members: { name: string; type: string; mode: number; content: Buffer }[] = [];
  const reader = new TarReader(({ name, type, mode }) => {
    const pieces: Buffer[] = [];
    return {
      write: (piece) => void pieces.push(Buffer.from(piece)),
      end: () => void members.push({ name, type, mode, content: Buffer.concat(pieces) }),
    };
  });
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
    // The reader may keep nothing of a chunk: the same memory comes again with other bytes.
    const chunk = Buffer.from(bytes.subarray(offset, offset + chunkBytes));
    reader.push(chunk);
    chunk.fill(0xff);
  }
  reader.finish();
  return members;
}

const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 150 })
  .filter((text) => !text.includes('\0') && !text.endsWith('/') && text.isWellFormed())
  .map((text) => `/${text}`);
const member = fc.record({ name, content: fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)) });

describe('tar', () => {
  it('TarReader gives back what tarHeader wrote, whatever the names and however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 6 }), fc.integer({ min: 1, max: 5000 }), async (members, chunkBytes) => {
        const read = await membersOf(tarOf(members), chunkBytes);
        expect(read).toEqual(members.map((written) => ({ ...written, type: 'file', mode: 0o600 })));
      }),
    );
  });

  it('TarReader wants the content of members, and nothing else, where their takers want it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 6 }), fc.integer({ min: 1, max: 2000 }), async (members, memoryBytes) => {
        const bytes = tarOf(members);
        const written: Buffer[] = [];
        const memory = Buffer.alloc(memoryBytes);
        const reader = new TarReader(() => ({
          write: (piece) => void written.push(Buffer.from(piece)),
          target: () => memory,
          end: () => undefined,
        }));
        for (let offset = 0; offset < bytes.length;) {
          const target = reader.target();
          const piece = bytes.subarray(offset, offset + (target?.length ?? 1));
          const before = written.length;
          reader.push(piece);
          offset += piece.length;
          // Headers, names and padding have no target.
          expect(written.length - before).toBe(target === undefined ? 0 : 1);
        }
        reader.finish();
        expect(Buffer.concat(written)).toEqual(Buffer.concat(members.map(({ content }) => content)));
      }),
      { numRuns: 25 },
    );
  });

  it('TarReader throws when the archive is cut anywhere within a member', async () => {
    const bytes = tarOf([{ name: '/base/1/1259', content: Buffer.alloc(1500, 'x') }]);
    for (const cutBytes of [100, 511, 513, 1000, 2011]) await expect(membersOf(bytes.subarray(0, cutBytes))).rejects.toThrow(SyntaxError);
  });

  it('TarReader accepts archives without final padding or end blocks, as WAL-G writes in remote backups', async () => {
    const bytes = tarOf([{ name: 'base/1/1259', content: Buffer.alloc(1500, 'x') }]);
    for (const lengthBytes of [512 + 1500, 512 + 1536, 512 + 1536 + 512, bytes.length]) {
      expect(await membersOf(bytes.subarray(0, lengthBytes))).toHaveLength(1);
    }
  });

  it('TarReader throws when something other than zeros follows the end, and for a wrong checksum', async () => {
    const bytes = tarOf([{ name: '/a', content: Buffer.from('a') }]);
    await expect(membersOf(Buffer.concat([bytes, Buffer.alloc(512), Buffer.from('x')]))).rejects.toThrow('follows the end');
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(0x41, 10);
    await expect(membersOf(flipped)).rejects.toThrow('checksum');
  });

  it('TarReader reads what GNU tar writes in its own, the POSIX and the old format', async () => {
    await using directory = await temporaryDirectory();
    const long = 'l'.repeat(140);
    writeFileSync(join(directory.path, long), 'long');
    writeFileSync(join(directory.path, 'größe'), 'umlaut');
    for (const format of ['gnu', 'pax', 'oldgnu']) {
      const bytes = execFileSync('tar', [`--format=${format}`, '-cf', '-', '.'], { cwd: directory.path });
      const members = await membersOf(bytes);
      expect(members.map((read) => `${read.name}:${read.content.toString()}`).sort()).toEqual(
        ['./:', `./${long}:long`, './größe:umlaut'].sort(),
      );
      expect(members.find((read) => read.name === './')?.type).toBe('directory');
    }
  });

  it('GNU tar lists what tarHeader wrote, sizes over 8 GiB included', () => {
    const big = tarHeader({ name: '/base/1/1', type: 'file', mode: 0o600, sizeBytes: 9 * 2 ** 30, changedSeconds: 0 });
    const names = tarOf([{ name: `/größe/${'x'.repeat(120)}`, content: Buffer.from('x') }]).subarray(0, -1024);
    const listing = execFileSync('tar', ['-tvPf', '-'], {
      input: Buffer.concat([names, tarHeader({ name: '/d', type: 'directory', mode: 0o700, sizeBytes: 0, changedSeconds: 0 }), tarEnd]),
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    expect(listing).toContain(`/größe/${'x'.repeat(120)}`);
    expect(listing).toMatch(/^drwx------ .* \/d$/m);
    expect(big.includes(`size=${9 * 2 ** 30}\n`)).toBe(true);
  });
});

describe('packIntoParts', () => {
  const files = fc.array(fc.nat(100), { maxLength: 60 }).map((sizes) => sizes.map((sizeBytes, index) => ({ index, sizeBytes })));
  const limits = fc.record({
    partBytes: fc.integer({ min: 1, max: 150 }),
    partMembers: fc.integer({ min: 1, max: 9 }),
    lookAheadFiles: fc.nat(70),
  });

  it('loses no file, keeps the order of those that share parts, and exceeds a limit only for a single file', async () => {
    await fc.assert(
      fc.asyncProperty(files, limits, async (all, { partBytes, partMembers, lookAheadFiles }) => {
        const parts = await partsOf(all, { partBytes, partMembers, lookAheadFiles });
        const packed = parts.flat();
        const isLarge = ({ sizeBytes }: { sizeBytes: number }): boolean => sizeBytes >= partBytes;
        expect(packed.filter(isLarge)).toEqual(all.filter(isLarge));
        expect(packed.filter((file) => !isLarge(file))).toEqual(all.filter((file) => !isLarge(file)));
        for (const part of parts) {
          expect(part.length).toBeLessThanOrEqual(partMembers);
          const contentBytes = part.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
          expect(contentBytes <= partBytes || part.length === 1).toBe(true);
        }
      }),
    );
  });

  it('makes a part no smaller than it must be: the next file would exceed a limit', async () => {
    await fc.assert(
      fc.asyncProperty(files, limits, async (all, { partBytes, partMembers, lookAheadFiles }) => {
        const parts = await partsOf(all, { partBytes, partMembers, lookAheadFiles });
        const shared = parts.filter(([first]) => first !== undefined && first.sizeBytes < partBytes);
        for (const [index, part] of shared.slice(0, -1).entries()) {
          const contentBytes = [...part, ...(shared[index + 1] ?? []).slice(0, 1)].reduce((total, { sizeBytes }) => total + sizeBytes, 0);
          expect(contentBytes > partBytes || part.length === partMembers).toBe(true);
        }
      }),
    );
  });

  it('puts what fills a part before everything that the look-ahead sees, and looks no further', async () => {
    const small = Array.from({ length: 10 }, (_, index) => ({ index, sizeBytes: 30 }));
    const all = [...small, { index: 10, sizeBytes: 100 }];
    const firstWith = async (lookAheadFiles: number) => {
      const parts = await partsOf(all, { partBytes: 100, partMembers: 100, lookAheadFiles });
      return parts.findIndex(([file]) => file?.index === 10);
    };
    expect([await firstWith(10), await firstWith(9), await firstWith(0)]).toEqual([0, 1, 3]);
  });
});

async function partsOf(
  files: readonly { readonly index: number; readonly sizeBytes: number }[],
  limits: Parameters<typeof packIntoParts>[1],
): Promise<(readonly { readonly index: number; readonly sizeBytes: number }[])[]> {
  const parts = [];
  for await (const part of packIntoParts(files, limits)) parts.push(part);
  return parts;
}
