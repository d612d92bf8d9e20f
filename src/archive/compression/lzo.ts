/**
 * The container of the program lzop, in which WAL-E stored everything (facts: walg-format.md, section 9; lzop 1.04, src/lzop.c). Only read.
 * Numbers are big-endian; each block is checked against the checksums that its flags announce.
 */
import { crc32 } from 'node:zlib';
import { ByteSource } from '../byte-source.ts';
import { adler32 } from './adler32.ts';
import type { Chunks, Decompression } from './codec.ts';
import { decompressLzo1x } from './lzo1x.ts';

const magic = Buffer.from([0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a]);
/** From this version of lzop on, the header has three more fields. */
const longHeaderVersion = 0x0940;
/** LZO1X-1, LZO1X-1(15) and LZO1X-999: one decompression fits all. */
const lzo1xMethods: ReadonlySet<number> = new Set([1, 2, 3]);
/** lzop writes blocks of 256 KiB; its format allows this much. */
const maximumBlockBytes = 64 * 1024 * 1024;
const flag = {
  adlerOfContent: 0x1,
  adlerOfStored: 0x2,
  extraField: 0x40,
  crcOfContent: 0x100,
  crcOfStored: 0x200,
  filter: 0x800,
  crcOfHeader: 0x1000,
} as const;

export const lzo: Decompression = { extension: 'lzo', decompress: readContainer };

async function* readContainer(chunks: Chunks): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  try {
    const flags = await readHeader(source);
    for (let block = await readBlock(source, flags); block !== undefined; block = await readBlock(source, flags)) yield block;
    if ((await source.piece(1)) !== undefined) throw new SyntaxError('something follows the end of its lzop container');
  } finally {
    await source.close();
  }
}

/** @returns the flags */
async function readHeader(source: ByteSource): Promise<number> {
  if (!(await source.required(magic.length)).equals(magic)) throw new SyntaxError('it is not an lzop container');
  const header = new CheckedFields(source);
  const version = await header.number(2);
  const isLong = version >= longHeaderVersion;
  await header.number(2);
  if (isLong) await header.number(2);
  const method = await header.number(1);
  if (isLong) await header.number(1);
  const flags = await header.number(4);
  if (!lzo1xMethods.has(method) || (flags & flag.filter) !== 0)
    throw new SyntaxError(`its lzop container uses method ${method} with flags ${flags.toString(16)}, which is not LZO1X alone`);
  for (let word = 0; word < (isLong ? 3 : 2); word += 1) await header.number(4);
  await header.bytes(await header.number(1));
  await header.assertChecksum(flags);
  if ((flags & flag.extraField) !== 0) {
    const extra = new CheckedFields(source);
    await extra.bytes(await extra.number(4));
    await extra.assertChecksum(flags);
  }
  return flags;
}

/** @returns undefined at the end of the container */
async function readBlock(source: ByteSource, flags: number): Promise<Buffer | undefined> {
  const contentBytes = await takeNumber(source);
  if (contentBytes === 0) return undefined;
  const storedBytes = await takeNumber(source);
  if (contentBytes > maximumBlockBytes || storedBytes > contentBytes)
    throw new SyntaxError(`an lzop block of ${contentBytes} bytes in ${storedBytes}`);
  const isPacked = storedBytes < contentBytes;
  const ofContent = await takeChecksums(source, flags, { adler: flag.adlerOfContent, crc: flag.crcOfContent });
  const ofStored = isPacked ? await takeChecksums(source, flags, { adler: flag.adlerOfStored, crc: flag.crcOfStored }) : {};
  const stored = await source.required(storedBytes);
  assertSums(stored, ofStored);
  const content = isPacked ? decompressLzo1x(stored, contentBytes) : stored;
  assertSums(content, ofContent);
  return content;
}

interface Checksums {
  readonly adler?: number;
  readonly crc?: number;
}

async function takeChecksums(source: ByteSource, flags: number, wanted: Required<Checksums>): Promise<Checksums> {
  const adler = (flags & wanted.adler) === 0 ? {} : { adler: await takeNumber(source) };
  return { ...adler, ...((flags & wanted.crc) === 0 ? {} : { crc: await takeNumber(source) }) };
}

function assertSums(bytes: Buffer, { adler, crc }: Checksums): void {
  if ((adler !== undefined && adler !== adler32(bytes)) || (crc !== undefined && crc !== crc32(bytes)))
    throw new SyntaxError('an lzop block has a wrong checksum');
}

async function takeNumber(source: ByteSource): Promise<number> {
  return (await source.required(4)).readUInt32BE(0);
}

/** Fields that a checksum follows. */
class CheckedFields {
  readonly #source: ByteSource;
  readonly #seen: Buffer[] = [];

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async number(sizeBytes: number): Promise<number> {
    return (await this.bytes(sizeBytes)).readUIntBE(0, sizeBytes);
  }

  async bytes(sizeBytes: number): Promise<Buffer> {
    if (sizeBytes > maximumBlockBytes) throw new SyntaxError(`a field of its lzop header has ${sizeBytes} bytes`);
    const bytes = Buffer.from(await this.#source.required(sizeBytes));
    this.#seen.push(bytes);
    return bytes;
  }

  async assertChecksum(flags: number): Promise<void> {
    const seen = Buffer.concat(this.#seen);
    const expected = (flags & flag.crcOfHeader) === 0 ? adler32(seen) : crc32(seen);
    if ((await takeNumber(this.#source)) !== expected) throw new SyntaxError('the header of its lzop container has a wrong checksum');
  }
}
