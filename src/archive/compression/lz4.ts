/**
 * LZ4 frames (lz4: doc/lz4_Frame_format.md); the blocks in them are packed by lz4-napi, in threads, and unpacked by lz4.wat.
 * Written as WAL-G writes them: one frame, independent blocks (of at most 4 MiB by the header), a checksum of the content. Read with every option but a dictionary.
 */
import { compress } from 'lz4-napi';
import { copyBytes } from '../../storage/copy-bytes.ts';
import { freeMemory } from '../../storage/free-memory.ts';
import { ByteSource } from '../byte-source.ts';
import type { Chunks, Codec } from './codec.ts';
import { inLz4Memory, type Lz4Memory } from './lz4-memory.ts';
import { XxHash32, xxHash32 } from './xxhash32.ts';

const frameMagic = 0x184d2204;
/** Version 1, independent blocks, content checksum; blocks of at most 4 MiB; checksum of the two bytes before. */
const writtenHeader = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x64, 0x70, 0xb9]);
/** The memory of a process that packs with lz4-napi grows with the blocks: 1 GB for those of 4 MiB, 280 MB for these (measured over 1.2 GB of text). */
const writtenBlockBytes = 512 * 1024;
const endMark = Buffer.alloc(4);
/** Top bit of a block's length: it is stored as it is. */
const storedFlag = 0x80000000;

export const lz4: Codec = {
  extension: 'lz4',
  compress: (chunks) => inLz4Memory((memory) => writeFrame(chunks, memory)),
  decompress: (chunks) => inLz4Memory((memory) => readFrame(chunks, memory)),
};

async function* writeFrame(chunks: Chunks, memory: Lz4Memory): AsyncGenerator<Buffer> {
  yield Buffer.from(writtenHeader);
  const hash = new XxHash32(memory);
  const block = memory.content(writtenBlockBytes);
  let usedBytes = 0;
  for await (const chunk of chunks) {
    for (let takenBytes = 0; takenBytes < chunk.length;) {
      const copiedBytes = copyBytes(chunk.subarray(takenBytes), block, usedBytes);
      takenBytes += copiedBytes;
      usedBytes += copiedBytes;
      if (usedBytes < writtenBlockBytes) continue;
      hash.update(block);
      yield* packedBlock(block);
      usedBytes = 0;
    }
  }
  const rest = block.subarray(0, usedBytes);
  hash.update(rest);
  if (rest.length > 0) yield* packedBlock(rest);
  yield Buffer.concat([endMark, littleEndian(hash.digest())]);
}

/** A block with its length in front: lz4-napi puts the uncompressed length there, which a frame does not want. Its memory is new for each block. */
async function* packedBlock(block: Buffer): AsyncGenerator<Buffer> {
  const packed = await compress(block);
  const packedBytes = packed.length - 4;
  if (packedBytes < block.length) {
    packed.writeUInt32LE(packedBytes, 0);
    yield packed;
  } else {
    yield littleEndian((storedFlag | block.length) >>> 0);
    yield block;
  }
  freeMemory(packed);
}

interface FrameHeader {
  readonly hasIndependentBlocks: boolean;
  readonly hasBlockChecksums: boolean;
  readonly hasContentChecksum: boolean;
  readonly contentBytes: bigint | undefined;
  readonly maximumBlockBytes: number;
}

async function* readFrame(chunks: Chunks, memory: Lz4Memory): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  try {
    const header = await readHeader(source, memory);
    const hash = new XxHash32(memory);
    let contentBytes = 0n;
    const blocks = new Blocks(source, header, memory);
    for (let block = await blocks.next(); block !== undefined; block = await blocks.next()) {
      if (header.hasContentChecksum) hash.update(block);
      contentBytes += BigInt(block.length);
      yield block;
    }
    if (header.hasContentChecksum && (await takeNumber(source)) !== hash.digest())
      throw new SyntaxError('its LZ4 content checksum is wrong');
    if (header.contentBytes !== undefined && header.contentBytes !== contentBytes)
      throw new SyntaxError(`its LZ4 frame holds ${contentBytes} bytes instead of ${header.contentBytes}`);
    if ((await source.piece(1)) !== undefined) throw new SyntaxError('something follows the end of its LZ4 frame');
  } finally {
    await source.close();
  }
}

async function readHeader(source: ByteSource, memory: Lz4Memory): Promise<FrameHeader> {
  if ((await takeNumber(source)) !== frameMagic) throw new SyntaxError('it is not an LZ4 frame');
  const fixed = await source.required(2);
  const [flags, sizes] = [fixed.readUInt8(0), fixed.readUInt8(1)];
  const hasContentSize = (flags & 0x08) !== 0;
  if (flags >> 6 !== 1 || (flags & 0x01) !== 0) throw new SyntaxError('its LZ4 frame is of another version, or needs a dictionary');
  const contentSize = hasContentSize ? await source.required(8) : Buffer.alloc(0);
  const checksum = await source.required(1);
  if (checksum.readUInt8(0) !== ((xxHash32(memory, Buffer.concat([fixed, contentSize])) >> 8) & 0xff))
    throw new SyntaxError('the header of its LZ4 frame has a wrong checksum');
  const sizeCode = (sizes >> 4) & 0x07;
  if (sizeCode < 4) throw new SyntaxError('the block size of its LZ4 frame is unknown');
  return {
    hasIndependentBlocks: (flags & 0x20) !== 0,
    hasBlockChecksums: (flags & 0x10) !== 0,
    hasContentChecksum: (flags & 0x04) !== 0,
    contentBytes: hasContentSize ? contentSize.readBigUInt64LE(0) : undefined,
    maximumBlockBytes: 2 ** (8 + 2 * sizeCode),
  };
}

/** The blocks of a frame, one after the other in the same memory. */
class Blocks {
  readonly #source: ByteSource;
  readonly #header: FrameHeader;
  readonly #memory: Lz4Memory;
  /** Of the last block. */
  #contentBytes = 0;
  /** So far may a block reach back that depends on others. */
  #windowBytes = 0;

  constructor(source: ByteSource, header: FrameHeader, memory: Lz4Memory) {
    this.#source = source;
    this.#header = header;
    this.#memory = memory;
  }

  /** @returns undefined at the frame's end mark; valid until the next is asked for @throws SyntaxError for a damaged one */
  async next(): Promise<Buffer | undefined> {
    const length = await takeNumber(this.#source);
    if (length === 0) return undefined;
    const sizeBytes = length & ~storedFlag;
    if (sizeBytes > this.#header.maximumBlockBytes) throw new SyntaxError(`an LZ4 block of ${sizeBytes} bytes`);
    if (!this.#header.hasIndependentBlocks) this.#windowBytes = this.#memory.keepWindow(this.#windowBytes, this.#contentBytes);
    const isStored = (length & storedFlag) !== 0;
    const read = isStored ? this.#memory.content(sizeBytes) : this.#memory.packed(sizeBytes);
    await this.#source.fill(read);
    if (this.#header.hasBlockChecksums && (await takeNumber(this.#source)) !== xxHash32(this.#memory, read))
      throw new SyntaxError('an LZ4 block has a wrong checksum');
    const content = isStored ? read : this.#unpacked(sizeBytes);
    this.#contentBytes = content.length;
    return content;
  }

  #unpacked(packedBytes: number): Buffer {
    return this.#memory.decompress(packedBytes, { maximumBytes: this.#header.maximumBlockBytes, windowBytes: this.#windowBytes });
  }
}

async function takeNumber(source: ByteSource): Promise<number> {
  return (await source.required(4)).readUInt32LE(0);
}

function littleEndian(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
