/**
 * A whole input as one frame of Zstandard, in one step.
 * Level 1 keeps up with the disks and uses a window of 512 KiB, which every release of WAL-G accepts (8 MiB is its limit);
 * the content checksum lets any reader notice damage.
 */
import { constants, zstdCompressSync } from 'node:zlib';
import { openZstdContext, type ZstdContext, zstdDirective } from './zstd-context.ts';

const compressionLevel = 1;
export const frameParameters = { [constants.ZSTD_c_compressionLevel]: compressionLevel, [constants.ZSTD_c_checksumFlag]: 1 } as const;
/** Headers and checksums of a frame that holds what does not compress. */
const frameOverheadBytes = 64 * 1024;

/** The room that the frame of so many bytes may take: a little more than zstd asks for (zstd.h, ZSTD_COMPRESSBOUND). */
export function wholeMaximumBytes(inputBytes: number): number {
  return inputBytes + Math.ceil(inputBytes / 256) + frameOverheadBytes;
}

/** Compresses one input after the other with the same context, whose memory is not made anew for each. */
export class FramePacker {
  readonly #context: ZstdContext | undefined;

  /** @param open opens the context; where it cannot, a public function does the work */
  constructor(open: typeof openZstdContext = openZstdContext) {
    this.#context = open('compress', { params: frameParameters });
  }

  /**
   * @returns how many bytes lie at the beginning of the output
   * @throws RangeError when the output is smaller than wholeMaximumBytes of the input
   */
  pack(input: Buffer, output: Buffer): number {
    if (output.length < wholeMaximumBytes(input.length))
      throw new RangeError(`a frame of ${input.length} bytes may not fit into ${output.length}`);
    if (this.#context !== undefined) return this.#context.step(zstdDirective.end, input, output).madeBytes;
    return zstdCompressSync(input, { params: frameParameters }).copy(output);
  }
}
