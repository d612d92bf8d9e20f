/** Gzip by node:zlib. WAL-G only reads it, and so do we. */
import { createGunzip } from 'node:zlib';
import type { Decompression } from './codec.ts';
import { decompressedBy, zlibOutputChunkBytes } from './zlib-stream.ts';

export const gzip: Decompression = {
  extension: 'gz',
  decompress: (chunks) => decompressedBy(createGunzip({ chunkSize: zlibOutputChunkBytes }), chunks),
};
