/** What a compression can do; one file of this folder for each. */
import type { Transform } from 'node:stream';

/** A decompressor that may tell how many bytes of its input it understood: fewer than it was given means that others follow the end. */
interface Decompressor extends Transform {
  readonly bytesWritten?: number;
}

/** A compression of stored objects. */
export interface Codec {
  /** Behind the object's name; empty for uncompressed. */
  readonly extension: string;
  /** The compressor never passes on the very buffers that it was given: the caller may fill them anew once they are taken. */
  readonly createCompressor: () => Transform;
  readonly createDecompressor: () => Decompressor;
}

/** A chunk written to a compressor has this size: large enough that a trip to a thread costs little. */
export const compressorChunkBytes = 1024 * 1024;
/** A compressor takes so many chunks before it says that it is full, and then works them all off: the writer needs as many buffers. */
export const compressorQueueChunks = 3;
/** Options of a compressor's stream that make this so. */
export const compressorQueue = { writableHighWaterMark: compressorQueueChunks * compressorChunkBytes } as const;

/**
 * The chunks, and after them a wait until the compressor has worked them off. Node's zstd, when it is ended while the last chunk is still being
 * compressed, writes an empty second frame behind the first: WAL-G's layout has one frame for an object.
 */
export async function* settledBeforeEnd(chunks: AsyncIterable<Buffer> | Iterable<Buffer>, compressor: Transform): AsyncGenerator<Buffer> {
  yield* chunks;
  await new Promise<void>((resolve, reject) => {
    compressor.write(Buffer.alloc(0), (error) => (error ? reject(error) : resolve()));
  });
}
