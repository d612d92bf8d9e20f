/**
 * Zstandard by node:zlib.
 * Level 1 keeps up with the disks and uses a window of 512 KiB, which every release of WAL-G accepts (8 MiB is its limit);
 * the content checksum lets any reader notice damage.
 */
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { Codec } from './codec.ts';
import { compressedBy, compressorQueue, decompressedBy, zlibOutputChunkBytes } from './zlib-stream.ts';

const compressionLevel = 1;

export const zstd: Codec = {
  extension: 'zst',
  compress: (chunks) =>
    compressedBy(
      createZstdCompress({
        chunkSize: zlibOutputChunkBytes,
        ...compressorQueue,
        params: { [constants.ZSTD_c_compressionLevel]: compressionLevel, [constants.ZSTD_c_checksumFlag]: 1 },
      }),
      chunks,
    ),
  decompress: (chunks) => decompressedBy(createZstdDecompress({ chunkSize: zlibOutputChunkBytes }), chunks),
};
