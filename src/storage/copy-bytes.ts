/** Copying bytes out of memory that threads share. */

/**
 * Copies as much as there is and has room, and says how much. V8 copies a view on shared memory byte by byte where the two are not aligned alike, at
 * 1.5 GB/s; of a stretch of a larger view Node copies five times as many.
 */
export function copyBytes(source: Uint8Array, target: Buffer, targetStartBytes: number): number {
  return Buffer.from(source.buffer).copy(target, targetStartBytes, source.byteOffset, source.byteOffset + source.length);
}
