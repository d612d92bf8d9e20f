/**
 * Applies the changed pages of a file (wal-g: internal/databases/postgres/pagefile.go, ApplyFileIncrement). Doing it again gives the same file,
 * so a fetch that was killed within it goes on by doing it again.
 *
 * Layout, little-endian: `wi1` and 0x55; the file's size as 64 bits; the number of pages as 32 bits; their block numbers; the pages in that order.
 * Files of OrioleDB have the page's size, 16 bits, before the number.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { isAbsent } from '../../files/system-error.ts';
import type { MemberSink } from '../tar-reader.ts';

const magic = 0x55316977;
const headerBytes = 16;
const orioleHeaderBytes = 18;
/** What PostgreSQL may be built with (configure --with-blocksize). */
const pageSizes: ReadonlySet<number> = new Set([1024, 2048, 4096, 8192, 16_384, 32_768]);

interface Layout {
  readonly fileBytes: number;
  readonly blockCount: number;
  readonly pageBytes: number;
}

/** The content of one increment goes in, the file is changed in place. */
export class IncrementSink implements MemberSink {
  readonly #path: string;
  readonly #sizeBytes: number;
  readonly #headerBytes: number;
  #pending: Buffer = Buffer.alloc(0);
  #layout: Layout | undefined;
  #blocks: Uint32Array | undefined;
  #appliedCount = 0;
  #file: number | undefined;

  /** @param sizeBytes of the tar's member, which must be exactly that of the increment */
  constructor(path: string, member: { readonly name: string; readonly sizeBytes: number }) {
    this.#path = path;
    this.#sizeBytes = member.sizeBytes;
    this.#headerBytes = member.name.includes('orioledb_data') ? orioleHeaderBytes : headerBytes;
  }

  /** @throws SyntaxError when it is no increment, or one of a file that is not there */
  write(piece: Buffer): void {
    this.#pending = this.#pending.length === 0 ? piece : Buffer.concat([this.#pending, piece]);
    if (this.#layout === undefined && this.#pending.length >= this.#headerBytes) this.#begin(this.#pending);
    if (this.#layout !== undefined && this.#blocks === undefined) this.#readBlocks(this.#layout);
    if (this.#layout !== undefined && this.#blocks !== undefined) this.#writePages(this.#layout, this.#blocks);
    // The piece's memory is the reader's again when this returns.
    this.#pending = Buffer.from(this.#pending);
  }

  end(): void {
    this.close();
    if (this.#layout === undefined || this.#appliedCount !== this.#layout.blockCount || this.#pending.length > 0)
      throw new SyntaxError(`the increment of ${this.#path} does not hold the pages that it names`);
  }

  /** Closes the file, wherever the increment stands. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #begin(bytes: Buffer): void {
    const layout = this.#parsedHeader(bytes);
    this.#layout = layout;
    this.#pending = bytes.subarray(this.#headerBytes);
    this.#file = openExisting(this.#path);
    ftruncateSync(this.#file, layout.fileBytes);
  }

  #parsedHeader(bytes: Buffer): Layout {
    const blockCount = bytes.readUInt32LE(this.#headerBytes - 4);
    const pagesBytes = this.#sizeBytes - this.#headerBytes - 4 * blockCount;
    const pageBytes = blockCount === 0 ? pagesBytes : pagesBytes / blockCount;
    const hasWrongSize = blockCount === 0 ? pagesBytes !== 0 : !pageSizes.has(pageBytes);
    if (bytes.readUInt32LE(0) !== magic) throw new SyntaxError(`what should be an increment of ${this.#path} is none`);
    if (hasWrongSize) throw new SyntaxError(`the increment of ${this.#path} has ${this.#sizeBytes} bytes for ${blockCount} pages`);
    return { fileBytes: Number(bytes.readBigUInt64LE(4)), blockCount, pageBytes };
  }

  #readBlocks({ blockCount, fileBytes, pageBytes }: Layout): void {
    if (this.#pending.length < 4 * blockCount) return;
    const blocks = new Uint32Array(blockCount);
    for (let index = 0; index < blockCount; index += 1) blocks[index] = this.#pending.readUInt32LE(4 * index);
    const outside = blocks.find((block) => (block + 1) * pageBytes > fileBytes);
    if (outside !== undefined) throw new SyntaxError(`the increment of ${this.#path} names block ${outside}, which lies behind its end`);
    this.#blocks = blocks;
    this.#pending = this.#pending.subarray(4 * blockCount);
  }

  #writePages({ pageBytes, blockCount }: Layout, blocks: Uint32Array): void {
    let offset = 0;
    for (; this.#pending.length - offset >= pageBytes && this.#appliedCount < blockCount; offset += pageBytes) {
      const page = this.#pending.subarray(offset, offset + pageBytes);
      writeFully(this.#file, page, (blocks[this.#appliedCount] ?? 0) * pageBytes);
      this.#appliedCount += 1;
    }
    this.#pending = this.#pending.subarray(offset);
  }
}

/** The base or an earlier delta must have brought it. */
function openExisting(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if (isAbsent(error)) throw new SyntaxError(`it holds an increment of ${path}, which no earlier backup of the chain brought`);
    throw error;
  }
}

function writeFully(file: number | undefined, bytes: Buffer, positionBytes: number): void {
  if (file === undefined) throw new TypeError('the file is closed');
  for (let written = 0; written < bytes.length;)
    written += writeSync(file, bytes, written, bytes.length - written, positionBytes + written);
}
