/** From a WAL file's bytes to what is stored of it. */
import { BufferPool } from './buffer-pool.ts';
import { codecs, type Compression } from './compression.ts';
import { wholeMaximumBytes } from './compression/zstd.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { storedForm } from './object-content.ts';
import { packWhole } from './packing-threads.ts';
import { collectedContent, sha256Of } from './stored-content.ts';

/** What is put under a key. */
export interface PackedFile {
  readonly stored: Buffer;
  readonly storedSha256: string;
}

export interface WalPackingOptions {
  readonly compression: Compression;
  readonly cipher?: ObjectCipher | undefined;
  readonly segmentBytes: number;
}

/** How many buffers of a packed segment's size are kept between pushes. */
const keptBuffersMaximumCount = 4;

export class WalPacking {
  readonly #options: WalPackingOptions;
  readonly #buffers: BufferPool;

  constructor(options: WalPackingOptions) {
    this.#options = options;
    this.#buffers = new BufferPool({ sizeBytes: wholeMaximumBytes(options.segmentBytes), keptMaximumCount: keptBuffersMaximumCount });
  }

  /**
   * Hands the stored form to its user, who does not keep it: where a thread can pack the file in one step, it lies in memory that is used again.
   * @throws WalkbackError ENCRYPTION_READ_ONLY, and what the user throws
   */
  async packed<T>(bytes: Buffer, use: (packed: PackedFile) => Promise<T>): Promise<T> {
    const { compression, cipher } = this.#options;
    const { buffer: input } = bytes;
    if (compression !== 'zstd' || cipher !== undefined || !(input instanceof SharedArrayBuffer))
      return await use(await this.#streamed(bytes));
    return await this.#buffers.lend(async (room) => {
      const packed = await packWhole({ input, inputBytes: bytes.length, output: room.buffer });
      if (packed === undefined) return await use(await this.#streamed(bytes));
      return await use({ stored: room.subarray(0, packed.sizeBytes), storedSha256: packed.sha256 });
    });
  }

  async #streamed(bytes: Buffer): Promise<PackedFile> {
    const { compression, cipher } = this.#options;
    const stored = await collectedContent(storedForm([bytes], { codec: codecs[compression], cipher }));
    return { stored, storedSha256: sha256Of(stored) };
  }
}
