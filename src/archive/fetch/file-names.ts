/**
 * Every file name of a chain of backups, once, numbered in the order in which they came. A million names take about 45 MB here, and in a Map
 * some hundreds; the memory is shared, so that the threads which extract look names up without a copy.
 */

/** The memory of the names, as threads pass it to each other. */
export interface SharedNames {
  readonly bytes: SharedArrayBuffer;
  /** Where each name ends in `bytes`. */
  readonly ends: SharedArrayBuffer;
  /** Open addressing: the number of a name, plus one; 0 is free. */
  readonly slots: SharedArrayBuffer;
  readonly count: number;
}

const initialNames = 1024;
const initialNameBytes = 32 * 1024;
/** PostgreSQL's own limit of a path (MAXPGPATH); tars know longer ones, none of them a data file's. */
const maximumNameBytes = 64 * 1024;
const encoder = new TextEncoder();

export class FileNames {
  #bytes: Uint8Array;
  #ends: Uint32Array;
  #slots: Uint32Array;
  #count: number;
  readonly #scratch = new Uint8Array(maximumNameBytes);

  /** New and empty, or those that another thread shares. */
  constructor(shared?: SharedNames) {
    this.#bytes = new Uint8Array(shared?.bytes ?? new SharedArrayBuffer(initialNameBytes));
    this.#ends = new Uint32Array(shared?.ends ?? new SharedArrayBuffer(initialNames * 4));
    this.#slots = new Uint32Array(shared?.slots ?? new SharedArrayBuffer(initialNames * 8));
    this.#count = shared?.count ?? 0;
  }

  get count(): number {
    return this.#count;
  }

  /** The number of a name; undefined when nobody added it. */
  find(name: string): number | undefined {
    const wanted = this.#encoded(name);
    const slot = this.#slots[this.#slotOf(wanted)] ?? 0;
    return slot === 0 ? undefined : slot - 1;
  }

  /** The number of a name, which is added when it is new. */
  add(name: string): number {
    const wanted = this.#encoded(name);
    const found = this.#slots[this.#slotOf(wanted)] ?? 0;
    if (found !== 0) return found - 1;
    this.#makeRoom(wanted.length);
    const start = this.#startOf(this.#count);
    this.#bytes.set(wanted, start);
    this.#ends[this.#count] = start + wanted.length;
    this.#slots[this.#slotOf(wanted)] = this.#count + 1;
    this.#count += 1;
    return this.#count - 1;
  }

  /** The name that has the number. */
  nameOf(number: number): string {
    return Buffer.from(this.#bytes.subarray(this.#startOf(number), this.#ends[number])).toString('utf8');
  }

  /** For other threads, which must not be given the names before all are there. */
  share(): SharedNames {
    const [bytes, ends, slots] = [this.#bytes.buffer, this.#ends.buffer, this.#slots.buffer] as SharedArrayBuffer[];
    if (bytes === undefined || ends === undefined || slots === undefined) throw new TypeError('the names lie in no shared memory');
    return { bytes, ends, slots, count: this.#count };
  }

  #encoded(name: string): Uint8Array {
    const { read, written } = encoder.encodeInto(name, this.#scratch);
    if (read < name.length) throw new SyntaxError(`a file name of more than ${maximumNameBytes} bytes`);
    return this.#scratch.subarray(0, written);
  }

  #startOf(number: number): number {
    return number === 0 ? 0 : (this.#ends[number - 1] ?? 0);
  }

  /** The slot that holds the name, or the free one in which it belongs. */
  #slotOf(wanted: Uint8Array): number {
    const mask = this.#slots.length - 1;
    for (let slot = hashOf(wanted) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot] ?? 0;
      if (entry === 0 || this.#holds(entry - 1, wanted)) return slot;
    }
  }

  #holds(number: number, wanted: Uint8Array): boolean {
    const start = this.#startOf(number);
    if ((this.#ends[number] ?? 0) - start !== wanted.length) return false;
    for (let index = 0; index < wanted.length; index += 1) if (this.#bytes[start + index] !== wanted[index]) return false;
    return true;
  }

  #makeRoom(nameBytes: number): void {
    const used = this.#startOf(this.#count);
    if (used + nameBytes > this.#bytes.length) {
      const larger = new Uint8Array(new SharedArrayBuffer(Math.max(this.#bytes.length * 2, used + nameBytes)));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    if (this.#count < this.#ends.length) return;
    const ends = new Uint32Array(new SharedArrayBuffer(this.#ends.byteLength * 2));
    ends.set(this.#ends);
    this.#ends = ends;
    this.#slots = new Uint32Array(new SharedArrayBuffer(ends.byteLength * 2));
    for (let number = 0; number < this.#count; number += 1) {
      const name = this.#bytes.subarray(this.#startOf(number), this.#ends[number]);
      this.#slots[this.#slotOf(name)] = number + 1;
    }
  }
}

/** FNV-1a. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
