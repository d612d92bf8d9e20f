/**
 * Zstandard by node:zlib.
 * Level 1 keeps up with the disks and uses a window of 512 KiB, which every release of WAL-G accepts (8 MiB is its limit);
 * the content checksum lets any reader notice damage.
 */
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { Chunks, Codec, CompressOptions, DecompressOptions } from './codec.ts';
import { compressedBy, compressorQueue, decompressedBy, zlibOutputChunkBytes } from './zlib-stream.ts';
import { openZstdContext, type ZstdContext, zstdDirective } from './zstd-context.ts';

const compressionLevel = 1;
/** What one thread compresses at a time: twice the window, so that the start of a job, which knows half a window of what came before, matters little. */
const jobBytes = 1024 * 1024;
const frameParameters = { [constants.ZSTD_c_compressionLevel]: compressionLevel, [constants.ZSTD_c_checksumFlag]: 1 } as const;
const noInput = Buffer.alloc(0);
/** Headers and checksums of a frame that holds what does not compress. */
const frameOverheadBytes = 64 * 1024;

export const zstd: Codec = { extension: 'zst', compress, decompress };

function compress(chunks: Chunks, { threads = 0 }: CompressOptions = {}): AsyncIterable<Buffer> {
  const context = threads === 0 ? undefined : openThreaded(threads);
  if (context !== undefined) return compressedIn(context, chunks);
  return compressedBy(createZstdCompress({ chunkSize: zlibOutputChunkBytes, ...compressorQueue, params: frameParameters }), chunks);
}

function openThreaded(threads: number): ZstdContext | undefined {
  const params = { ...frameParameters, [constants.ZSTD_c_nbWorkers]: threads, [constants.ZSTD_c_jobSize]: jobBytes };
  return openZstdContext('compress', { params });
}

/** One frame. The calling thread hands input over and takes output: it waits only while every thread has work. */
async function* compressedIn(context: ZstdContext, chunks: Chunks): AsyncGenerator<Buffer> {
  using owned = context;
  const output = Buffer.allocUnsafeSlow(zlibOutputChunkBytes);
  for await (const chunk of chunks) {
    for (let input = chunk; input.length > 0;) {
      const { takenBytes, madeBytes } = owned.step(zstdDirective.continue, input, output);
      input = input.subarray(takenBytes);
      if (madeBytes > 0) yield output.subarray(0, madeBytes);
    }
  }
  for (let isComplete = false; !isComplete;) {
    const { madeBytes } = owned.step(zstdDirective.end, noInput, output);
    // The end is written when it left room: a call after that would begin another frame (zstd.h, ZSTD_compressStream2).
    isComplete = madeBytes < output.length;
    if (madeBytes > 0) yield output.subarray(0, madeBytes);
  }
}

/**
 * Compresses all of an input in one step, as one frame: without the copies that a stream of pieces makes.
 * @returns how many bytes lie at the beginning of the output; undefined when it has no room for the worst case (zstd.h, ZSTD_COMPRESSBOUND), or this
 * version of Node cannot do it
 */
export function compressWhole(input: Buffer, output: Buffer): number | undefined {
  if (output.length < wholeMaximumBytes(input.length)) return undefined;
  using context = openZstdContext('compress', { params: frameParameters });
  return context?.step(zstdDirective.end, input, output).madeBytes;
}

/** The room that an input of so many bytes may take: a little more than zstd asks for. */
export function wholeMaximumBytes(inputBytes: number): number {
  return inputBytes + Math.ceil(inputBytes / 256) + frameOverheadBytes;
}

function decompress(chunks: Chunks, { inThisThread = false }: DecompressOptions = {}): AsyncIterable<Buffer> {
  const context = inThisThread ? openZstdContext('decompress') : undefined;
  if (context !== undefined) return decompressedIn(context, chunks);
  return decompressedBy(createZstdDecompress({ chunkSize: zlibOutputChunkBytes }), chunks);
}

/**
 * The last byte of each chunk is held back for the next, so that the step which takes the very last byte is the one that is told of the end: only then is
 * a frame that is not complete an error.
 */
async function* decompressedIn(context: ZstdContext, chunks: Chunks): AsyncGenerator<Buffer> {
  using owned = context;
  const output = Buffer.allocUnsafeSlow(zlibOutputChunkBytes);
  const heldBack = Buffer.alloc(1);
  let heldBytes = 0;
  for await (const chunk of chunks) {
    if (chunk.length === 0) continue;
    yield* decompressedSteps(owned, heldBack.subarray(0, heldBytes), output);
    yield* decompressedSteps(owned, chunk.subarray(0, -1), output);
    heldBytes = chunk.copy(heldBack, 0, chunk.length - 1);
  }
  // A block, of at most 128 KiB, is all that can be left: it has room.
  const { madeBytes } = owned.step(zstdDirective.end, heldBack.subarray(0, heldBytes), output);
  if (madeBytes > 0) yield output.subarray(0, madeBytes);
}

/** Until the input is taken, and nothing is left that had no room. */
function* decompressedSteps(context: ZstdContext, bytes: Buffer, output: Buffer): Generator<Buffer> {
  for (let input = bytes, hasMore = bytes.length > 0; hasMore;) {
    const { takenBytes, madeBytes } = context.step(zstdDirective.continue, input, output);
    input = input.subarray(takenBytes);
    hasMore = input.length > 0 || madeBytes === output.length;
    if (madeBytes > 0) yield output.subarray(0, madeBytes);
  }
}
