/** Zstandard by node:zlib, and by threads of ours. */
import { createZstdCompress, createZstdDecompress, zstdCompressSync } from 'node:zlib';
import { packFrame } from '../packing-threads.ts';
import {
  type Chunks,
  type Codec,
  type CompressOptions,
  compressorQueueChunks,
  type ContentTarget,
  type DecompressOptions,
} from './codec.ts';
import { compressedBy, compressorQueue, decompressedBy, zlibOutputChunkBytes } from './zlib-stream.ts';
import { openZstdContext, type ZstdContext, zstdDirective } from './zstd-context.ts';
import { FrameWalk } from './zstd-frame-walk.ts';
import { frameParameters } from './zstd-frame.ts';

const noInput = Buffer.alloc(0);

export const zstd: Codec = { extension: 'zst', compress, decompress };

function compress(chunks: Chunks, { frameRooms, urgency = 0 }: CompressOptions = {}): AsyncIterable<Buffer> {
  if (frameRooms !== undefined) return compressedInFrames(chunks, frameRooms, urgency);
  return compressedBy(createZstdCompress({ chunkSize: zlibOutputChunkBytes, ...compressorQueue, params: frameParameters }), chunks);
}

/** A frame for each chunk, made by threads, in the order of the chunks. */
async function* compressedInFrames(chunks: Chunks, rooms: readonly Buffer<SharedArrayBuffer>[], urgency: number): AsyncGenerator<Buffer> {
  const underWay: Promise<Buffer>[] = [];
  let frameCount = 0;
  try {
    for await (const chunk of chunks) {
      underWay.push(packedFrame(chunk, rooms[frameCount % compressorQueueChunks], urgency));
      frameCount += 1;
      const oldest = underWay.length >= compressorQueueChunks ? underWay.shift() : undefined;
      if (oldest !== undefined) yield await oldest;
    }
    for (let next = underWay.shift(); next !== undefined; next = underWay.shift()) yield await next;
    if (frameCount === 0) yield zstdCompressSync(noInput, { params: frameParameters });
  } finally {
    // Whoever made the chunks may use their buffers again as soon as this ends.
    await Promise.allSettled(underWay);
  }
}

function packedFrame(chunk: Buffer, room: Buffer<SharedArrayBuffer> | undefined, urgency: number): Promise<Buffer> {
  const { buffer: input, byteOffset: inputOffsetBytes, length: inputBytes } = chunk;
  if (!(input instanceof SharedArrayBuffer) || room === undefined) throw new TypeError('threads pack what lies in memory that is shared');
  const job = { input, inputOffsetBytes, inputBytes, output: room.buffer };
  const packed = packFrame(job, urgency).then((sizeBytes) => room.subarray(0, sizeBytes));
  // A chunk behind the one that is waited for may fail too: one error is enough.
  packed.catch(() => undefined);
  return packed;
}

function decompress(chunks: Chunks, { inThisThread = false, target }: DecompressOptions = {}): AsyncIterable<Buffer> {
  const context = inThisThread ? openZstdContext('decompress') : undefined;
  return context === undefined ? decompressedByStreams(chunks) : decompressedIn(context, chunks, target);
}

/** A stream of node:zlib takes no more than one frame. */
async function* decompressedByStreams(chunks: Chunks): AsyncGenerator<Buffer> {
  await using frames = new FramedChunks(chunks);
  do yield* decompressedBy(createZstdDecompress({ chunkSize: zlibOutputChunkBytes }), frames.frame());
  while (await frames.hasMore());
}

/** Chunks that are cut where a frame ends. */
class FramedChunks implements AsyncDisposable {
  readonly #chunks: AsyncIterator<Buffer> | Iterator<Buffer>;
  readonly #walk = new FrameWalk();
  #rest: Buffer = noInput;

  constructor(chunks: Chunks) {
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  async hasMore(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#rest = next.value;
    }
    return true;
  }

  /** What is left of the present frame. */
  async *frame(): AsyncGenerator<Buffer> {
    while (await this.hasMore()) {
      const { sizeBytes, isEnd } = this.#walk.take(this.#rest);
      const piece = this.#rest.subarray(0, sizeBytes);
      this.#rest = this.#rest.subarray(sizeBytes);
      yield piece;
      if (isEnd) return;
    }
  }

  /** Whoever makes the chunks hears that no more are wanted. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}

/**
 * The last byte of each chunk is held back for the next, so that the step which takes the very last byte is the one that is told of the end: only then is
 * a frame that is not complete an error.
 */
async function* decompressedIn(context: ZstdContext, chunks: Chunks, target: ContentTarget = () => undefined): AsyncGenerator<Buffer> {
  using owned = context;
  const output = Buffer.allocUnsafeSlow(zlibOutputChunkBytes);
  const nextOutput = (): Buffer => target() ?? output;
  const heldBack = Buffer.alloc(1);
  let heldBytes = 0;
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    yield* decompressedSteps(owned, heldBack.subarray(0, heldBytes), nextOutput);
    yield* decompressedSteps(owned, chunk.subarray(0, -1), nextOutput);
    heldBytes = chunk.copy(heldBack, 0, chunk.length - 1);
  }
  // A block, of at most 128 KiB, is all that can be left: it has room.
  const { madeBytes } = owned.step(zstdDirective.end, heldBack.subarray(0, heldBytes), output);
  if (madeBytes > 0) yield output.subarray(0, madeBytes);
}

/** Until the input is taken, and nothing is left that had no room. */
function* decompressedSteps(context: ZstdContext, bytes: Buffer, nextOutput: () => Buffer): Generator<Buffer> {
  for (let input = bytes, hasMore = bytes.length > 0; hasMore;) {
    const output = nextOutput();
    const { takenBytes, madeBytes } = context.step(zstdDirective.continue, input, output);
    input = input.subarray(takenBytes);
    hasMore = input.length > 0 || madeBytes === output.length;
    if (madeBytes > 0) yield output.subarray(0, madeBytes);
  }
}
