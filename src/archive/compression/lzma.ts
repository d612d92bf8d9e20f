/** LZMA-alone, the format of WAL-G's method `lzma`. Only read; the decoder is ours, because those of packages hold a whole tar in memory. */
import type { Chunks, Decompression } from './codec.ts';
import { LzmaDecoder } from './lzma-decoder.ts';

/** Properties, dictionary size (u32), content size (u64; all ones when an end marker tells it), all little-endian. */
const headerBytes = 13;
const unknownSize = 0xffffffffffffffffn;
/** WAL-G writes 8 MiB; `lzma -9` writes 64 MiB. */
const maximumDictionaryBytes = 64 * 1024 * 1024;
const minimumDictionaryBytes = 4096;
/** More input than one symbol can take (20 bytes), so that a symbol is never cut in two. */
const symbolInputBytes = 32;

export const lzma: Decompression = { extension: 'lzma', decompress: readStream };

async function* readStream(chunks: Chunks): AsyncGenerator<Buffer> {
  let input: Buffer = Buffer.alloc(0);
  let decoder: LzmaDecoder | undefined;
  for await (const chunk of chunks) {
    input = input.length === 0 ? chunk : Buffer.concat([input, chunk]);
    if (decoder === undefined) {
      // The range coder begins with five bytes of its own.
      if (input.length < headerBytes + symbolInputBytes) continue;
      decoder = openDecoder(input);
      input = input.subarray(headerBytes);
    }
    yield* decoder.decode(input, { keepBytes: symbolInputBytes });
    input = input.subarray(decoder.consumedBytes);
  }
  if (decoder === undefined) {
    if (input.length < headerBytes) throw new SyntaxError('its LZMA header is cut');
    decoder = openDecoder(input);
    input = input.subarray(headerBytes);
  }
  yield* decoder.decode(input, { keepBytes: 0 });
  if (!decoder.hasEnded) throw new SyntaxError('its LZMA data ends early');
  if (decoder.consumedBytes < input.length) throw new SyntaxError('something follows the end of its LZMA data');
}

function openDecoder(input: Buffer): LzmaDecoder {
  const properties = input.readUInt8(0);
  const dictionaryBytes = input.readUInt32LE(1);
  const contentBytes = input.readBigUInt64LE(5);
  if (properties >= 9 * 5 * 5 || dictionaryBytes > maximumDictionaryBytes)
    throw new SyntaxError(`its LZMA header has properties ${properties} and a dictionary of ${dictionaryBytes} bytes`);
  return new LzmaDecoder({
    literalContextBits: properties % 9,
    literalPositionBits: Math.floor(properties / 9) % 5,
    positionBits: Math.floor(properties / 45),
    dictionaryBytes: Math.max(dictionaryBytes, minimumDictionaryBytes),
    contentBytes: contentBytes === unknownSize ? undefined : Number(contentBytes),
  });
}
