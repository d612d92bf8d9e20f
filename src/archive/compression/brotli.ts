/** Brotli by node:zlib: a raw stream at quality 3, as WAL-G writes it. It has no checksum of its own. */
import { constants, createBrotliCompress, createBrotliDecompress } from 'node:zlib';
import type { Codec } from './codec.ts';
import { compressedBy, compressorQueue, decompressedBy, zlibOutputChunkBytes } from './zlib-stream.ts';

const quality = 3;

export const brotli: Codec = {
  extension: 'br',
  compress: (chunks) =>
    compressedBy(
      createBrotliCompress({
        chunkSize: zlibOutputChunkBytes,
        ...compressorQueue,
        params: { [constants.BROTLI_PARAM_QUALITY]: quality },
      }),
      chunks,
    ),
  decompress: (chunks) => decompressedBy(createBrotliDecompress({ chunkSize: zlibOutputChunkBytes }), chunks),
};
