/** The streams of node:zlib, whose work runs in libuv's threads, as compressions. */
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Chunks, compressorChunkBytes, compressorQueueChunks } from './codec.ts';

/** Options of a compressor's stream: it takes so many chunks before it says that it is full, and then works them all off. */
export const compressorQueue = { writableHighWaterMark: compressorQueueChunks * compressorChunkBytes } as const;
/** Few large buffers: each costs a trip to a thread and an allocation. */
export const zlibOutputChunkBytes = 256 * 1024;

/** A stream of node:zlib, which tells how many bytes of its input it understood. */
interface ZlibStream extends Transform {
  readonly bytesWritten: number;
}

/** The chunks, compressed by the stream. */
export function compressedBy(stream: ZlibStream, chunks: Chunks): AsyncIterable<Buffer> {
  return passed(settledBeforeEnd(chunks, stream), stream);
}

/** The chunks, decompressed by the stream. @throws SyntaxError when bytes follow the end, of which node:zlib says nothing */
export async function* decompressedBy(stream: ZlibStream, chunks: Chunks): AsyncGenerator<Buffer> {
  let givenBytes = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      givenBytes += chunk.length;
      yield chunk;
    }
  };
  yield* passed(counted(), stream);
  if (stream.bytesWritten !== givenBytes)
    throw new SyntaxError(`its compressed data ends after ${stream.bytesWritten} of ${givenBytes} bytes`);
}

async function* passed(chunks: Chunks, stream: Transform): AsyncGenerator<Buffer> {
  const feeding = pipeline(chunks, stream);
  // Its failure is also that of reading the stream, which throws it below.
  feeding.catch(() => undefined);
  try {
    yield* stream as AsyncIterable<Buffer>;
    await feeding;
  } finally {
    stream.destroy();
  }
}

/**
 * The chunks, and after them a wait until the compressor has worked them off. Node's zstd, when it is ended while the last chunk is still being
 * compressed, writes an empty second frame behind the first: WAL-G's layout has one frame for an object.
 */
async function* settledBeforeEnd(chunks: Chunks, compressor: Transform): AsyncGenerator<Buffer> {
  yield* chunks;
  await new Promise<void>((resolve, reject) => {
    compressor.write(Buffer.alloc(0), (error) => (error ? reject(error) : resolve()));
  });
}
