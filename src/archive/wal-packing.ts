/** From a WAL file's bytes to what is stored of it. */
import { BufferPool, BufferPools } from './buffer-pool.ts';
import { codecs, type Compression } from './compression.ts';
import { wholeMaximumBytes } from './compression/zstd-frame.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { contentReader, storedForm } from './object-content.ts';
import { packingThreadsMaximum, packHashedFrame } from './packing-threads.ts';
import { collectedContent, sha256Of } from './stored-content.ts';
import { walLongPageHeaderBytes } from './wal-page.ts';
import type { WalSource } from './wal-source.ts';

/** What is put under a key. */
export interface PackedFile {
  readonly stored: Buffer;
  readonly storedSha256: string;
  /** When the source closed the file, RFC 3339. */
  readonly closedAt: string;
  /** Of the file, as many as a segment's header has at most. */
  readonly firstBytes: Buffer;
}

export interface WalPackingOptions {
  readonly compression: Compression;
  readonly cipher?: ObjectCipher | undefined;
  readonly segmentBytes: number;
}

/** Of files that are read and packed at a time, by all clusters of the process: there is one for each thread that packs. */
const readMaximumBytes = 64 * 1024 * 1024;
/** Of packed files of one cluster that are on their way to its store: segments of 64 MiB go by ones. */
const storedMaximumBytes = 128 * 1024 * 1024;
/** One more than are pushed ahead at once: what PostgreSQL asks for does not wait for them. */
const storedMaximumCount = 4;

/** By the size of segments. */
const readPools = new BufferPools({ maximumCount: packingThreadsMaximum, maximumBytes: readMaximumBytes });

export class WalPacking {
  readonly #options: WalPackingOptions;
  readonly #readPool: BufferPool;
  readonly #storedPool: BufferPool;

  constructor(options: WalPackingOptions) {
    const { segmentBytes } = options;
    this.#options = options;
    this.#readPool = readPools.of(segmentBytes);
    const sizeBytes = wholeMaximumBytes(segmentBytes);
    this.#storedPool = new BufferPool({ sizeBytes, maximumCount: storedMaximumCount, maximumBytes: storedMaximumBytes });
  }

  /**
   * Reads a file into memory that is lent for it, which others have again while the packed form is stored. The user of that form does not keep it: where
   * a thread can pack the file in one step, it lies in memory that is used again.
   * @throws WalkbackError ENCRYPTION_READ_ONLY, and what the reader and the user throw
   */
  async packed<T>(read: (room: Buffer) => Promise<WalSource>, use: (packed: PackedFile) => Promise<T>): Promise<T> {
    return await this.#storedPool.lend(async (room) => {
      const packed = await this.#readPool.lend(async (buffer) => this.#pack(await read(buffer), room));
      return await use(packed);
    });
  }

  /** What was packed, once more: the memory that it was read into is another's by now, and the file may be too. */
  async unpacked({ stored }: PackedFile): Promise<Buffer> {
    const { compression, cipher } = this.#options;
    const read = contentReader({ key: 'a WAL file', extension: codecs[compression].extension, cipher, inThisThread: true });
    return await collectedContent(read([stored]));
  }

  async #pack({ bytes, closedAt }: WalSource, room: Buffer<SharedArrayBuffer>): Promise<PackedFile> {
    const { compression, cipher } = this.#options;
    const { buffer: input } = bytes;
    const isWhole = compression === 'zstd' && cipher === undefined && input instanceof SharedArrayBuffer;
    const packed = isWhole
      ? await packHashedFrame({ input, inputOffsetBytes: bytes.byteOffset, inputBytes: bytes.length, output: room.buffer })
      : undefined;
    const source = { closedAt, firstBytes: Buffer.from(bytes.subarray(0, walLongPageHeaderBytes)) };
    if (packed !== undefined) return { stored: room.subarray(0, packed.sizeBytes), storedSha256: packed.sha256, ...source };
    const stored = await collectedContent(storedForm([bytes], { codec: codecs[compression], cipher }));
    return { stored, storedSha256: sha256Of(stored), ...source };
  }
}
