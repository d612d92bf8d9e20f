/** XXH32 with seed 0, the checksum of LZ4 frames (xxHash, doc/xxhash_spec.md, "XXH32 Algorithm Description"). */

const prime1 = 0x9e3779b1;
const prime2 = 0x85ebca77;
const prime3 = 0xc2b2ae3d;
const prime4 = 0x27d4eb2f;
const prime5 = 0x165667b1;
const stripeBytes = 16;

/** Takes bytes in pieces of any size. */
export class XxHash32 {
  readonly #lanes = new Int32Array([prime1 + prime2, prime2, 0, -prime1]);
  readonly #rest = Buffer.alloc(stripeBytes);
  #restBytes = 0;
  #totalBytes = 0;

  update(bytes: Buffer): void {
    this.#totalBytes += bytes.length;
    let offset = 0;
    if (this.#restBytes > 0) {
      offset = bytes.copy(this.#rest, this.#restBytes, 0, stripeBytes - this.#restBytes);
      this.#restBytes += offset;
      if (this.#restBytes < stripeBytes) return;
      this.#consume(this.#rest, 0, stripeBytes);
    }
    const end = offset + Math.floor((bytes.length - offset) / stripeBytes) * stripeBytes;
    this.#consume(bytes, offset, end);
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

  #consume(bytes: Buffer, startBytes: number, endBytes: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let [a = 0, b = 0, c = 0, d = 0] = this.#lanes;
    for (let offset = startBytes; offset < endBytes; offset += stripeBytes) {
      a = round(a, view.getInt32(offset, true));
      b = round(b, view.getInt32(offset + 4, true));
      c = round(c, view.getInt32(offset + 8, true));
      d = round(d, view.getInt32(offset + 12, true));
    }
    this.#lanes.set([a, b, c, d]);
  }
}

/** The hash of bytes that are there whole. */
export function xxHash32(bytes: Buffer): number {
  const hash = new XxHash32();
  hash.update(bytes);
  return hash.digest();
}

function round(lane: number, input: number): number {
  return Math.imul(rotate((lane + Math.imul(input, prime2)) | 0, 13), prime1);
}

function rotate(value: number, bitCount: number): number {
  return (value << bitCount) | (value >>> (32 - bitCount));
}

function avalanche(hash: number): number {
  const first = Math.imul(hash ^ (hash >>> 15), prime2);
  const second = Math.imul(first ^ (first >>> 13), prime3);
  return (second ^ (second >>> 16)) >>> 0;
}
