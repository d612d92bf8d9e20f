/** Buffers that are filled in turn: as many as the compressor may hold before it has the writer wait until all are done. */
import { LendingPool } from '../buffer-pool.ts';
import { compressorChunkBytes, compressorQueueChunks } from '../compression/codec.ts';
import { wholeMaximumBytes } from '../compression/zstd-frame.ts';
import { PageMemory } from './page-memory.ts';

export class ChunkRing {
  /** Holds every chunk, so that pages are checked where they lie. */
  readonly memory: PageMemory = new PageMemory(compressorQueueChunks * compressorChunkBytes);
  readonly #buffers = Array.from({ length: compressorQueueChunks }, (_, index) =>
    this.memory.buffer(index * compressorChunkBytes, compressorChunkBytes),
  );
  /** What the compressor's threads put their work into. */
  readonly frameRooms: readonly Buffer<SharedArrayBuffer>[] = Array.from({ length: compressorQueueChunks }, () =>
    Buffer.from(new SharedArrayBuffer(wholeMaximumBytes(compressorChunkBytes))),
  );
  #index = 0;
  #usedBytes = 0;

  /** Forgets what a tar that failed left in the current chunk. */
  reset(): void {
    this.#usedBytes = 0;
  }

  /** Copies bytes in; yields every chunk that becomes full. */
  *append(bytes: Buffer): Generator<Buffer> {
    for (let copiedBytes = 0; copiedBytes < bytes.length;) {
      const space = this.space(bytes.length - copiedBytes);
      copiedBytes += bytes.copy(space, 0, copiedBytes);
      yield* this.advance(space.length);
    }
  }

  /** Yields the chunk early when it has no room for so many bytes in one piece. */
  *makeRoom(sizeBytes: number): Generator<Buffer> {
    if (compressorChunkBytes - this.#usedBytes < sizeBytes) yield this.rest();
  }

  /** Room in the current chunk for at most so many bytes. */
  space(maximumBytes: number): Buffer {
    const current = this.#buffers[this.#index] ?? Buffer.alloc(0);
    return current.subarray(this.#usedBytes, this.#usedBytes + maximumBytes);
  }

  /** Counts bytes that were put into the room; yields the chunk when it is full. */
  *advance(sizeBytes: number): Generator<Buffer> {
    this.#usedBytes += sizeBytes;
    if (this.#usedBytes === compressorChunkBytes) yield this.rest();
  }

  /** What was filled so far; the next buffer takes over. */
  rest(): Buffer {
    const full = (this.#buffers[this.#index] ?? Buffer.alloc(0)).subarray(0, this.#usedBytes);
    this.#index = (this.#index + 1) % compressorQueueChunks;
    this.#usedBytes = 0;
    return full;
  }
}

/** Parts in work at a time, of all backups of the process: what `storage.upload_concurrency` may be at most. */
const ringsMaximum = 64;

/** Rings, of 8 MiB each. */
export const chunkRings: LendingPool<ChunkRing> = new LendingPool({ make: () => new ChunkRing(), maximumCount: ringsMaximum });
