/**
 * Zstandard by node:zlib, whose work runs in libuv's threads.
 * Level 1 keeps up with the disks and uses a window of 512 KiB, which every release of WAL-G accepts (8 MiB is its limit);
 * the content checksum lets any reader notice damage.
 */
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { type Codec, compressorQueue } from './codec.ts';

const compressionLevel = 1;
/** Few large buffers: each costs a trip to a thread and an allocation. */
const outputChunkBytes = 256 * 1024;

export const zstd: Codec = {
  extension: 'zst',
  createCompressor: () =>
    createZstdCompress({
      chunkSize: outputChunkBytes,
      ...compressorQueue,
      params: { [constants.ZSTD_c_compressionLevel]: compressionLevel, [constants.ZSTD_c_checksumFlag]: 1 },
    }),
  createDecompressor: () => createZstdDecompress({ chunkSize: outputChunkBytes }),
};
