/** The compressions of stored objects, by name and by extension; a new one is a file in compression/ and a line here. */
import { WalkbackError } from '../domain/errors.ts';
import { brotli } from './compression/brotli.ts';
import type { Codec, Decompression } from './compression/codec.ts';
import { gzip } from './compression/gzip.ts';
import { lz4 } from './compression/lz4.ts';
import { lzma } from './compression/lzma.ts';
import { lzo } from './compression/lzo.ts';
import { none } from './compression/none.ts';
import { zstd } from './compression/zstd.ts';

/** The compressions that are written and read. */
export const codecs = { zstd, lz4, brotli, none } as const satisfies Readonly<Record<string, Codec>>;

/** How new objects are compressed. */
export type Compression = keyof typeof codecs;

/** Everything that is read: also what only WAL-G and WAL-E wrote. */
const readable = { ...codecs, lzma, gzip, lzo } as const satisfies Readonly<Record<string, Decompression>>;

/** The extensions that are read, the likeliest first. */
export const readableExtensions: readonly string[] = Object.values(readable).map(({ extension }) => extension);

/** How a stored object is read. @throws WalkbackError ARCHIVE_FORMAT_UNSUPPORTED for an extension that nobody knows */
export function decompressionOf(extension: string, key: string): Decompression {
  const found = Object.values(readable).find((candidate) => candidate.extension === extension);
  if (found !== undefined) return found;
  throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${key} has the extension "${extension}": it cannot be decompressed.`, {
    facts: { key, extension },
    hint: `Readable are: ${Object.keys(readable).join(', ')}.`,
  });
}
