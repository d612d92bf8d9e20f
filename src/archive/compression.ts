/** The compressions of stored objects, by name and by extension; a new one is a file in compression/ and a line here. */
import { pipeline } from 'node:stream/promises';
import { WalkbackError } from '../domain/errors.ts';
import { type Codec, settledBeforeEnd } from './compression/codec.ts';
import { none } from './compression/none.ts';
import { zstd } from './compression/zstd.ts';
import { storedExtensions } from './layout.ts';

/** The compressions that can be written and read. */
export const codecs = { zstd, none } as const satisfies Readonly<Record<string, Codec>>;

/** How new objects are compressed. */
export type Compression = keyof typeof codecs;

/** The codec of a stored object. @throws WalkbackError ARCHIVE_FORMAT_UNSUPPORTED for an extension that cannot be read */
export function codecOfExtension(extension: string, key: string): Codec {
  const codec = Object.values(codecs).find((candidate) => candidate.extension === extension);
  if (codec !== undefined) return codec;
  const method = Object.hasOwn(storedExtensions, extension) ? `, which is ${storedExtensions[extension]}` : '';
  throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${key} has the extension "${extension}"${method}: it cannot be decompressed.`, {
    facts: { key, extension },
    hint: `Readable are: ${Object.keys(codecs).join(', ')}.`,
  });
}

/** Compresses an object that fits in memory. */
export async function compressBytes(codec: Codec, bytes: Buffer): Promise<Buffer> {
  const compressor = codec.createCompressor();
  const chunks: Buffer[] = [];
  await pipeline(settledBeforeEnd([bytes], compressor), compressor, async (output) => {
    for await (const chunk of output as AsyncIterable<Buffer>) chunks.push(chunk);
  });
  return Buffer.concat(chunks);
}

/**
 * Decompresses an object that fits in memory.
 * @throws RangeError when more than maximumBytes come out, SyntaxError when bytes follow the end, and the codec's own error for damaged input
 */
export async function decompressBytes(codec: Codec, bytes: Buffer, maximumBytes: number): Promise<Buffer> {
  const decompressor = codec.createDecompressor();
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  await pipeline([bytes], decompressor, async (output) => {
    for await (const chunk of output as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > maximumBytes) throw new RangeError(`it decompresses to more than ${maximumBytes} bytes`);
      chunks.push(chunk);
    }
  });
  assertAllRead(decompressor.bytesWritten, bytes.length);
  return Buffer.concat(chunks, sizeBytes);
}

/** Node's zstd stops at the end of a frame without a word about what follows in the same chunk. @throws SyntaxError when something does */
export function assertAllRead(readBytes: number | undefined, storedBytes: number): void {
  if (readBytes === undefined || readBytes === storedBytes) return;
  throw new SyntaxError(`its compressed data ends after ${readBytes} of ${storedBytes} bytes`);
}
