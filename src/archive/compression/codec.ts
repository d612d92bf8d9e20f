/** What a compression can do; one file of this folder for each. */

/** Bytes in pieces, as they come. */
export type Chunks = AsyncIterable<Buffer> | Iterable<Buffer>;

/** A form that stored objects are read in. */
export interface Decompression {
  /** Behind the object's name; empty for uncompressed. */
  readonly extension: string;
  /**
   * What the stored bytes hold, in bounded pieces, each valid until the next is asked for.
   * @throws SyntaxError when they end early or go on behind their end, and the codec's own errors for damage
   */
  readonly decompress: (chunks: Chunks, options?: DecompressOptions) => AsyncIterable<Buffer>;
}

/**
 * Memory that the next piece of content is wanted in, never empty; undefined: anywhere. It is asked when the piece before was taken. A compression that can
 * (zstd, in the calling thread) puts the piece there, and spares a copy.
 */
export type ContentTarget = () => Buffer | undefined;

/** How decompressing may use the machine. */
export interface DecompressOptions {
  /** Work in the calling thread, where the compression can (zstd): for threads that do nothing else. Default false: by libuv's threads, and nobody waits. */
  readonly inThisThread?: boolean;
  /** Where the next piece is wanted. Default: nowhere in particular. */
  readonly target?: ContentTarget | undefined;
}

/** A form that they are written in too. */
export interface Codec extends Decompression {
  /**
   * The stored bytes, each piece valid until the next is asked for. Never the very buffers that it was given: the caller fills them anew once they
   * are taken.
   */
  readonly compress: (chunks: Chunks, options?: CompressOptions) => AsyncIterable<Buffer>;
}

/** How compressing may use the machine. */
export interface CompressOptions {
  /**
   * Memory that threads put their work into, `compressorQueueChunks` of it, each with room for a chunk that does not compress: then chunks lie in shared
   * memory too, and each is compressed for itself (zstd). Default none: one of libuv's threads compresses all of them, one after the other.
   */
  readonly frameRooms?: readonly Buffer<SharedArrayBuffer>[] | undefined;
  /** Of several compressors that wait for the threads, the one with the highest number has its chunks compressed first. Default 0. */
  readonly urgency?: number | undefined;
}

/** A chunk given to a compressor has this size: large enough that a trip to a thread costs little. */
export const compressorChunkBytes = 1024 * 1024;
/** A compressor may hold so many chunks at a time: the writer needs as many buffers. */
export const compressorQueueChunks = 4;
