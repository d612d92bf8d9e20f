/**
 * LZ4 frames (lz4: doc/lz4_Frame_format.md); the blocks in them are packed by lz4-napi, in threads, and unpacked here.
 * Written as WAL-G writes them: one frame, independent blocks (of at most 4 MiB by the header), a checksum of the content. Read with every option but a dictionary.
 */
import { compress } from 'lz4-napi';
import { freeMemory } from '../../storage/free-memory.ts';
import { ByteSource } from '../byte-source.ts';
import type { Chunks, Codec } from './codec.ts';
import { decompressLz4Block } from './lz4-block.ts';
import { XxHash32, xxHash32 } from './xxhash32.ts';

const frameMagic = 0x184d2204;
/** Version 1, independent blocks, content checksum; blocks of at most 4 MiB; checksum of the two bytes before. */
const writtenHeader = Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x64, 0x70, 0xb9]);
/** The memory of a process that packs with lz4-napi grows with the blocks: 1 GB for those of 4 MiB, 280 MB for these (measured over 1.2 GB of text). */
const writtenBlockBytes = 512 * 1024;
const endMark = Buffer.alloc(4);
/** Top bit of a block's length: it is stored as it is. */
const storedFlag = 0x80000000;
/** A block that depends on others reaches back so far. */
const dictionaryBytes = 64 * 1024;

export const lz4: Codec = { extension: 'lz4', compress: writeFrame, decompress: readFrame };

async function* writeFrame(chunks: Chunks): AsyncGenerator<Buffer> {
  yield Buffer.from(writtenHeader);
  const hash = new XxHash32();
  const block = Buffer.allocUnsafe(writtenBlockBytes);
  let usedBytes = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    for (let takenBytes = 0; takenBytes < chunk.length;) {
      const copiedBytes = chunk.copy(block, usedBytes, takenBytes);
      takenBytes += copiedBytes;
      usedBytes += copiedBytes;
      if (usedBytes < writtenBlockBytes) continue;
      yield* packedBlock(block);
      usedBytes = 0;
    }
  }
  if (usedBytes > 0) yield* packedBlock(block.subarray(0, usedBytes));
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

async function* readFrame(chunks: Chunks): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  try {
    const header = await readHeader(source);
    const hash = new XxHash32();
    let contentBytes = 0n;
    const window = new Window(header);
    for (let block = await readBlock(source, header, window); block !== undefined; block = await readBlock(source, header, window)) {
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

async function readHeader(source: ByteSource): Promise<FrameHeader> {
  if ((await takeNumber(source)) !== frameMagic) throw new SyntaxError('it is not an LZ4 frame');
  const fixed = await source.required(2);
  const [flags, sizes] = [fixed.readUInt8(0), fixed.readUInt8(1)];
  const hasContentSize = (flags & 0x08) !== 0;
  if (flags >> 6 !== 1 || (flags & 0x01) !== 0) throw new SyntaxError('its LZ4 frame is of another version, or needs a dictionary');
  const contentSize = hasContentSize ? await source.required(8) : Buffer.alloc(0);
  const checksum = await source.required(1);
  if (checksum.readUInt8(0) !== ((xxHash32(Buffer.concat([fixed, contentSize])) >> 8) & 0xff))
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

/** @returns undefined at the frame's end mark; valid until the next block is read */
async function readBlock(source: ByteSource, header: FrameHeader, window: Window): Promise<Buffer | undefined> {
  const length = await takeNumber(source);
  if (length === 0) return undefined;
  const sizeBytes = length & ~storedFlag;
  if (sizeBytes > header.maximumBlockBytes) throw new SyntaxError(`an LZ4 block of ${sizeBytes} bytes`);
  const block = await source.required(sizeBytes);
  if (header.hasBlockChecksums && (await takeNumber(source)) !== xxHash32(block))
    throw new SyntaxError('an LZ4 block has a wrong checksum');
  return (length & storedFlag) === 0 ? window.decompress(block) : window.take(block);
}

/** The memory that one block after the other is put into, behind what a block that depends on others may reach back to. */
class Window {
  readonly #isKept: boolean;
  readonly #memory: Buffer;
  /** End of the last block. */
  #endBytes = dictionaryBytes;
  /** Where the bytes begin that matches may reach. */
  #reachedBytes = dictionaryBytes;

  constructor({ hasIndependentBlocks, maximumBlockBytes }: FrameHeader) {
    this.#isKept = !hasIndependentBlocks;
    this.#memory = Buffer.allocUnsafeSlow(dictionaryBytes + maximumBlockBytes);
  }

  decompress(block: Buffer): Buffer {
    this.#makeRoom();
    const place = { output: this.#memory, startBytes: dictionaryBytes, windowStartBytes: this.#reachedBytes };
    this.#endBytes = decompressLz4Block(block, place);
    return this.#memory.subarray(dictionaryBytes, this.#endBytes);
  }

  /** A block that is stored as it is. */
  take(block: Buffer): Buffer {
    if (!this.#isKept) return block;
    this.#makeRoom();
    this.#endBytes = dictionaryBytes + block.copy(this.#memory, dictionaryBytes);
    return this.#memory.subarray(dictionaryBytes, this.#endBytes);
  }

  /** Puts the end of what there is before the place of the next block. */
  #makeRoom(): void {
    if (!this.#isKept) return;
    const movedBytes = this.#endBytes - dictionaryBytes;
    this.#memory.copyWithin(0, movedBytes, this.#endBytes);
    this.#reachedBytes = Math.max(0, this.#reachedBytes - movedBytes);
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
