/**
 * Memory that files are read into on their way into a tar, in which page-checksum.wat and crc32c.wat find them: nothing is copied for it. Its size never
 * changes, so that buffers into it stay valid.
 */
import { crc32c } from '@node-rs/crc32';
import { crc32cModule } from './crc32c-module.ts';
import { pageChecksumModule } from './page-checksum-module.ts';

const wasmPageBytes = 64 * 1024;
/** What crc32c.wat works in, behind all else. */
const foldingRoomBytes = 76_160;
/** Below, folding gains little: it leaves 5 KiB to the library. At 32 KiB it takes 5.5 µs in place of 7, at 1 MiB 69 in place of 227. */
const foldedMinimumBytes = 32 * 1024;
const pageChecksums = new WebAssembly.Module(Buffer.from(pageChecksumModule, 'base64'));
const folding = new WebAssembly.Module(Buffer.from(crc32cModule, 'base64'));

/** What page-checksum.wat exports. */
interface PageChecksum {
  readonly checksum: (page: number, pageBytes: number, block: number) => number;
  readonly goodPages: (page: number, count: number, pageBytes: number, block: number) => number;
}

/** What crc32c.wat exports. */
interface Folding {
  readonly fold: (from: number, sizeBytes: number, room: number, state: number) => number;
}

/** Buffers, the checksums of PostgreSQL's pages in them, and CRC-32C of what they hold. */
export class PageMemory {
  readonly #memory: WebAssembly.Memory<SharedArrayBuffer>;
  readonly #pages: PageChecksum;
  readonly #folding: Folding;
  readonly #foldingRoom: Buffer;

  /** @param sizeBytes rounded up to whole 64 KiB */
  constructor(sizeBytes: number) {
    const foldingOffsetBytes = Math.ceil(sizeBytes / wasmPageBytes) * wasmPageBytes;
    const pageCount = Math.ceil((foldingOffsetBytes + foldingRoomBytes) / wasmPageBytes);
    this.#memory = new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared: true });
    this.#pages = this.#exportsOf(pageChecksums) as unknown as PageChecksum;
    this.#folding = this.#exportsOf(folding) as unknown as Folding;
    this.#foldingRoom = this.buffer(foldingOffsetBytes, foldingRoomBytes);
  }

  /** A part of the memory. */
  buffer(offsetBytes: number, sizeBytes: number): Buffer {
    return Buffer.from(this.#memory.buffer, offsetBytes, sizeBytes);
  }

  /**
   * How many pages are good before the first that is not; pages that were never written are.
   * @param pages a part of this memory that holds whole pages
   * @param block number of the first page in its relation
   */
  goodPages(pages: Buffer, { pageBytes, block }: { readonly pageBytes: number; readonly block: number }): number {
    return this.#pages.goodPages(pages.byteOffset, pages.length / pageBytes, pageBytes, block);
  }

  /** The checksum that a page of this memory should carry as that block of its relation. */
  checksum(page: Buffer, block: number): number {
    return this.#pages.checksum(page.byteOffset, page.length, block);
  }

  /**
   * CRC-32C, three times as fast as the library where there is much to do.
   * @param bytes a part of this memory
   * @param before the checksum of what comes before them; 0 when nothing does
   */
  crc32c(bytes: Buffer, before: number): number {
    if (bytes.length < foldedMinimumBytes) return crc32c(bytes, before);
    const leftBytes = this.#folding.fold(bytes.byteOffset, bytes.length, this.#foldingRoom.byteOffset, ~before);
    // The complement of the register's state is what the library goes on from.
    return crc32c(this.#foldingRoom.subarray(0, leftBytes), 0xffff_ffff);
  }

  #exportsOf(module: WebAssembly.Module): WebAssembly.Instance['exports'] {
    return new WebAssembly.Instance(module, { walkback: { memory: this.#memory } }).exports;
  }
}
