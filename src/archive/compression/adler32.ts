/** Adler-32 (RFC 1950, section 9). */

const modulus = 65521;
/** The most bytes after which the sums still fit in 32 bits (zlib: adler32.c, NMAX). */
const runBytes = 5552;

export function adler32(bytes: Buffer): number {
  let [low, high] = [1, 0];
  for (let start = 0; start < bytes.length; start += runBytes) {
    const end = Math.min(start + runBytes, bytes.length);
    for (let index = start; index < end; index += 1) {
      low += bytes[index] ?? 0;
      high += low;
    }
    low %= modulus;
    high %= modulus;
  }
  return ((high << 16) | low) >>> 0;
}
