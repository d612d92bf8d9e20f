/**
 * LZO1X decompression, from the description of the stream in the Linux kernel (Documentation/staging/lzo.rst). An instruction's byte says what to
 * copy: literals that follow it, or bytes that were written before; its last two bits say how many literals come behind a copy.
 */

/** Distance at which a copy of the longest reach begins; exactly this distance is the end of the stream. */
const farDistance = 16384;
/** Distance at which a copy of three bytes begins, which can only follow a long run of literals. */
const afterLiteralsDistance = 2049;
/** The state after a run of four or more literals. */
const manyLiterals = 4;

/** Decompresses a block whose size is known. @throws SyntaxError for a stream that is damaged or is of another size */
export function decompressLzo1x(input: Buffer, outputBytes: number): Buffer {
  return new Lzo1xDecoder(input, outputBytes).decode();
}

class Lzo1xDecoder {
  readonly #input: Buffer;
  readonly #output: Buffer;
  #read = 0;
  #written = 0;
  /** How many literals the instruction before copied: 0 to 3, or 4 for more. */
  #state = 0;

  constructor(input: Buffer, outputBytes: number) {
    this.#input = input;
    this.#output = Buffer.allocUnsafe(outputBytes);
  }

  decode(): Buffer {
    const first = this.#input[0] ?? 0;
    if (first > 17) {
      this.#read = 1;
      this.#literals(first - 17);
      this.#state = Math.min(first - 17, manyLiterals);
    }
    while (this.#instruction());
    if (this.#read !== this.#input.length) throw new SyntaxError('bytes follow the end of an LZO block');
    if (this.#written !== this.#output.length)
      throw new SyntaxError(`an LZO block holds ${this.#written} bytes instead of ${this.#output.length}`);
    return this.#output;
  }

  /** @returns false at the end of the stream */
  #instruction(): boolean {
    const code = this.#byte();
    if (code >= 64) return this.#nearCopy(code);
    if (code >= 16) return this.#wordCopy(code);
    if (this.#state === 0) {
      this.#literals(this.#length(code, { bits: 15, base: 3 }));
      this.#state = manyLiterals;
      return true;
    }
    const isAfterRun = this.#state === manyLiterals;
    const distance = (this.#byte() << 2) + (code >> 2) + (isAfterRun ? afterLiteralsDistance : 1);
    return this.#copy(distance, isAfterRun ? 3 : 2, code & 3);
  }

  /** 1LLDDDSS and 01LDDDSS, with a byte of distance behind. */
  #nearCopy(code: number): boolean {
    const length = code >= 128 ? 5 + ((code >> 5) & 3) : 3 + ((code >> 5) & 1);
    return this.#copy((this.#byte() << 3) + ((code >> 2) & 7) + 1, length, code & 3);
  }

  /** 001LLLLL and 0001HLLL, with a word behind of distance and state. */
  #wordCopy(code: number): boolean {
    const isFar = code < 32;
    const length = this.#length(code & (isFar ? 7 : 31), { bits: isFar ? 7 : 31, base: 2 });
    const word = this.#byte() | (this.#byte() << 8);
    if (!isFar) return this.#copy((word >> 2) + 1, length, word & 3);
    const distance = farDistance + ((code & 8) << 11) + (word >> 2);
    return distance !== farDistance && this.#copy(distance, length, word & 3);
  }

  /** A length of all zeros goes on in the bytes behind: 255 for each zero, then the last one. */
  #length(field: number, { bits, base }: { readonly bits: number; readonly base: number }): number {
    if (field !== 0) return base + field;
    let length = base + bits;
    for (let byte = this.#byte(); ; byte = this.#byte()) {
      if (byte !== 0) return length + byte;
      length += 255;
    }
  }

  #copy(distance: number, lengthBytes: number, literalCount: number): true {
    if (distance > this.#written || lengthBytes > this.#output.length - this.#written)
      throw new SyntaxError('an LZO copy lies outside of its block');
    const from = this.#written - distance;
    // Where the copy overlaps itself, bytes that it writes are read again.
    if (distance >= lengthBytes) this.#output.copyWithin(this.#written, from, from + lengthBytes);
    else for (let index = 0; index < lengthBytes; index += 1) this.#output[this.#written + index] = this.#output[from + index] ?? 0;
    this.#written += lengthBytes;
    this.#literals(literalCount);
    this.#state = literalCount;
    return true;
  }

  #literals(count: number): void {
    if (count > this.#input.length - this.#read || count > this.#output.length - this.#written)
      throw new SyntaxError('LZO literals lie outside of their block');
    this.#input.copy(this.#output, this.#written, this.#read, this.#read + count);
    this.#read += count;
    this.#written += count;
  }

  #byte(): number {
    const byte = this.#input[this.#read];
    if (byte === undefined) throw new SyntaxError('an LZO block ends early');
    this.#read += 1;
    return byte;
  }
}
