/**
 * Memory that files are read into on their way into a tar, in which page-checksum.wat finds them: nothing is copied for it. Its size never changes, so
 * that buffers into it stay valid.
 */
import { pageChecksumModule } from './page-checksum-module.ts';

const wasmPageBytes = 64 * 1024;
const module = new WebAssembly.Module(Buffer.from(pageChecksumModule, 'base64'));

/** What page-checksum.wat exports. */
interface PageChecksum {
  readonly checksum: (page: number, pageBytes: number, block: number) => number;
  readonly goodPages: (page: number, count: number, pageBytes: number, block: number) => number;
}

/** Buffers, and the checksums of PostgreSQL's pages in them. */
export class PageMemory {
  readonly #memory: WebAssembly.Memory<SharedArrayBuffer>;
  readonly #functions: PageChecksum;

  /** @param sizeBytes rounded up to whole 64 KiB */
  constructor(sizeBytes: number) {
    const pageCount = Math.ceil(sizeBytes / wasmPageBytes);
    this.#memory = new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared: true });
    const { exports } = new WebAssembly.Instance(module, { walkback: { memory: this.#memory } });
    this.#functions = exports as unknown as PageChecksum;
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
    return this.#functions.goodPages(pages.byteOffset, pages.length / pageBytes, pageBytes, block);
  }

  /** The checksum that a page of this memory should carry as that block of its relation. */
  checksum(page: Buffer, block: number): number {
    return this.#functions.checksum(page.byteOffset, page.length, block);
  }
}
