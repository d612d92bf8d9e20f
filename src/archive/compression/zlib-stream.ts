/** The streams of node:zlib, whose work runs in libuv's threads, as compressions. */
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Chunks, compressorChunkBytes, compressorQueueChunks } from './codec.ts';

/** Options of a compressor's stream: the chunks that it is given at a time are no reason to wait. */
export const compressorQueue = { writableHighWaterMark: compressorQueueChunks * compressorChunkBytes } as const;
/** Few large buffers: each costs a trip to a thread and an allocation. */
export const zlibOutputChunkBytes = 256 * 1024;

/** A stream of node:zlib, which tells how many bytes of its input it understood. */
interface ZlibStream extends Transform {
  readonly bytesWritten: number;
}

/** The chunks, compressed by the stream. */
export async function* compressedBy(stream: ZlibStream, chunks: Chunks): AsyncGenerator<Buffer> {
  const feeding = feed(chunks, stream);
  // Its failure destroys the stream, and is thrown below.
  feeding.catch((error: Error) => stream.destroy(error));
  try {
    yield* stream as AsyncIterable<Buffer>;
    await feeding;
  } finally {
    stream.destroy();
    // Whoever made the chunks may use their buffers again as soon as this ends. What went wrong was thrown above.
    await feeding.catch(() => undefined);
  }
}

/**
 * Gives the compressor its chunks, and takes the next when at most `compressorQueueChunks - 1` are not worked off. All of them are before the end comes:
 * Node's zstd, when it is ended while the last chunk is still being compressed, writes an empty second frame behind the first, which
 * nobody needs.
 */
async function feed(chunks: Chunks, compressor: Transform): Promise<void> {
  const underWay: Promise<void>[] = [];
  for await (const chunk of chunks) {
    underWay.push(written(compressor, chunk));
    if (underWay.length >= compressorQueueChunks) await underWay.shift();
  }
  await Promise.all(underWay);
  compressor.end();
}

function written(compressor: Transform, chunk: Buffer): Promise<void> {
  const done = new Promise<void>((resolve, reject) => {
    compressor.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
  // A chunk behind the one that is waited for may fail too: one error is enough.
  done.catch(() => undefined);
  return done;
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
