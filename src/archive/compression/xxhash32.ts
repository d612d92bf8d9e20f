/** XXH32 with seed 0, the checksum of LZ4 frames (xxHash, doc/xxhash_spec.md, "XXH32 Algorithm Description"). lz4.wat mixes what is long. */
import type { Lz4Memory } from './lz4-memory.ts';

const prime1 = 0x9e3779b1;
const prime2 = 0x85ebca77;
const prime3 = 0xc2b2ae3d;
const prime4 = 0x27d4eb2f;
const prime5 = 0x165667b1;
const stripeBytes = 16;

/** Takes bytes in pieces of any size; those that lie in the memory are not copied. */
export class XxHash32 {
  readonly #memory: Lz4Memory;
  readonly #lanes = new Int32Array([prime1 + prime2, prime2, 0, -prime1]);
  readonly #rest = Buffer.alloc(stripeBytes);
  #restBytes = 0;
  #totalBytes = 0;

  constructor(memory: Lz4Memory) {
    this.#memory = memory;
  }

  update(bytes: Buffer): void {
    this.#totalBytes += bytes.length;
    let offset = 0;
    if (this.#restBytes > 0) {
      offset = bytes.copy(this.#rest, this.#restBytes, 0, stripeBytes - this.#restBytes);
      this.#restBytes += offset;
      if (this.#restBytes < stripeBytes) return;
      this.#memory.mixStripes(this.#lanes, this.#rest);
    }
    const end = offset + Math.floor((bytes.length - offset) / stripeBytes) * stripeBytes;
    this.#memory.mixStripes(this.#lanes, bytes.subarray(offset, end));
    this.#restBytes = bytes.copy(this.#rest, 0, end);
  }

  /** The hash of all bytes so far, as an unsigned number. */
  digest(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.#lanes;
    const isLong = this.#totalBytes >= stripeBytes;
    let hash = isLong ? (rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18)) | 0 : prime5;
    hash = (hash + this.#totalBytes) | 0;
    let offset = 0;
    for (; offset + 4 <= this.#restBytes; offset += 4)
      hash = Math.imul(rotate((hash + Math.imul(this.#rest.readInt32LE(offset), prime3)) | 0, 17), prime4);
    for (; offset < this.#restBytes; offset += 1)
      hash = Math.imul(rotate((hash + Math.imul(this.#rest.readUInt8(offset), prime5)) | 0, 11), prime1);
    return avalanche(hash);
  }
}

/** The hash of bytes that are there whole. */
export function xxHash32(memory: Lz4Memory, bytes: Buffer): number {
  const hash = new XxHash32(memory);
  hash.update(bytes);
  return hash.digest();
}

function rotate(value: number, bitCount: number): number {
  return (value << bitCount) | (value >>> (32 - bitCount));
}

function avalanche(hash: number): number {
  const first = Math.imul(hash ^ (hash >>> 15), prime2);
  const second = Math.imul(first ^ (first >>> 13), prime3);
  return (second ^ (second >>> 16)) >>> 0;
}
