/**
 * LZ4 blocks (lz4: doc/lz4_Block_format.md), decompressed into memory that the caller brings. A package takes new memory for each block, outside of
 * V8's heap, and a fetch of half a GiB came to two; this does a gigabyte and more in a second.
 */

/** A match is so much longer than its token says. */
const minimumMatchBytes = 4;
/** A length in a token that more bytes add to. */
const extendedLength = 15;
/** A byte of a length that another one follows. */
const continuedByte = 255;
/** Shorter copies are done byte by byte: a call would cost more. */
const calledCopyMinimumBytes = 24;

/** Where a block goes. */
export interface Lz4BlockPlace {
  readonly output: Uint8Array;
  readonly startBytes: number;
  /** From here to the start lies what came before, and matches may reach into it. */
  readonly windowStartBytes: number;
}

/** @returns where the block ends in the output @throws SyntaxError for a block that is damaged or finds no room */
export function decompressLz4Block(input: Uint8Array, { output, startBytes, windowStartBytes }: Lz4BlockPlace): number {
  let read = 0;
  let written = startBytes;
  // One loop over plain variables: what is called for each sequence halves the speed.
  for (;;) {
    const token = input[read++] ?? 0;
    let sizeBytes = token >>> 4;
    if (sizeBytes === extendedLength) {
      for (let more = continuedByte; more === continuedByte; sizeBytes += more) more = input[read++] ?? 0;
    }
    if (sizeBytes > input.length - read || sizeBytes > output.length - written) throw damagedBlock();
    if (sizeBytes < calledCopyMinimumBytes) for (const end = written + sizeBytes; written < end;) output[written++] = input[read++] ?? 0;
    else {
      output.set(input.subarray(read, read + sizeBytes), written);
      read += sizeBytes;
      written += sizeBytes;
    }
    // The last sequence has no match.
    if (read === input.length) return written;
    const distanceBytes = (input[read] ?? 0) | ((input[read + 1] ?? 0) << 8);
    read += 2;
    sizeBytes = token & extendedLength;
    if (sizeBytes === extendedLength) {
      for (let more = continuedByte; more === continuedByte; sizeBytes += more) more = input[read++] ?? 0;
    }
    sizeBytes += minimumMatchBytes;
    if (distanceBytes === 0 || distanceBytes > written - windowStartBytes) throw damagedBlock();
    if (sizeBytes > output.length - written || read >= input.length) throw damagedBlock();
    let from = written - distanceBytes;
    // A match that overlaps itself repeats what it has just written.
    if (sizeBytes < calledCopyMinimumBytes || distanceBytes < sizeBytes)
      for (const end = written + sizeBytes; written < end;) output[written++] = output[from++] ?? 0;
    else {
      output.copyWithin(written, from, from + sizeBytes);
      written += sizeBytes;
    }
  }
}

function damagedBlock(): SyntaxError {
  return new SyntaxError('an LZ4 block is damaged');
}
