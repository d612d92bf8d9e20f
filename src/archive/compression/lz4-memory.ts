/** Memory that LZ4 frames are unpacked in, a block at a time, and that lz4.wat works in: packed bytes, content, and what blocks reach back to. */
import { copyBytes } from '../../storage/copy-bytes.ts';
import { lz4Module } from './lz4-module.ts';

/** The largest block that a frame may hold. */
const largestBlockBytes = 4 * 1024 * 1024;
/** A block that depends on others reaches back so far. */
const dictionaryBytes = 64 * 1024;
/** Behind what is packed and behind the content lie so many bytes that lz4.wat may touch: one vector. */
const slackBytes = 16;
const wasmPageBytes = 64 * 1024;

/** Where everything lies. The first page: lz4.wat's own tables from 0 on, the lanes of a hash, and bytes on their way into one. */
const lanesOffsetBytes = 512;
const stagedOffsetBytes = 1024;
const stagedBytes = wasmPageBytes - stagedOffsetBytes;
const dictionaryOffsetBytes = wasmPageBytes;
const contentOffsetBytes = dictionaryOffsetBytes + dictionaryBytes;
const packedOffsetBytes = contentOffsetBytes + largestBlockBytes + slackBytes;
const pageCount = Math.ceil((packedOffsetBytes + largestBlockBytes + slackBytes) / wasmPageBytes);

const module = new WebAssembly.Module(Buffer.from(lz4Module, 'base64'));

/** What lz4.wat exports. */
interface Lz4Functions {
  readonly decompress: (packed: number, packedEnd: number, content: number, contentEnd: number, window: number) => number;
  readonly mixStripes: (lanes: number, start: number, end: number) => void;
}

/**
 * Room for one block, packed and unpacked, and for the 64 KiB before it. Pages that no block comes to cost nothing. A buffer into it holds what it does until
 * the next block is put there.
 */
export class Lz4Memory {
  readonly #bytes: Buffer<ArrayBuffer>;
  readonly #lanes: Int32Array;
  readonly #functions: Lz4Functions;

  constructor() {
    const memory = new WebAssembly.Memory<ArrayBuffer>({ initial: pageCount, maximum: pageCount, shared: false });
    this.#bytes = Buffer.from(memory.buffer);
    this.#lanes = new Int32Array(memory.buffer, lanesOffsetBytes, 4);
    const { exports } = new WebAssembly.Instance(module, { walkback: { memory } });
    this.#functions = exports as unknown as Lz4Functions;
  }

  /** Where a packed block is put: its size is at most 4 MiB. */
  packed(sizeBytes: number): Buffer {
    return this.#part(packedOffsetBytes, sizeBytes);
  }

  /** Where content is: what was unpacked last, or room for a block that is stored as it is. At most 4 MiB. */
  content(sizeBytes: number): Buffer {
    return this.#part(contentOffsetBytes, sizeBytes);
  }

  /**
   * Unpacks the block that was put into `packed`.
   * @param windowBytes of what `keepWindow` has put before the content, so much is this frame's: matches may reach into it
   * @returns the content, of at most maximumBytes
   * @throws SyntaxError for a block that is damaged or holds more
   */
  decompress(packedBytes: number, { maximumBytes, windowBytes }: { readonly maximumBytes: number; readonly windowBytes: number }): Buffer {
    const endBytes = this.#functions.decompress(
      packedOffsetBytes,
      packedOffsetBytes + this.packed(packedBytes).length,
      contentOffsetBytes,
      contentOffsetBytes + this.content(maximumBytes).length,
      contentOffsetBytes - windowBytes,
    );
    if (endBytes === 0) throw new SyntaxError('an LZ4 block is damaged');
    return this.content(endBytes - contentOffsetBytes);
  }

  /** Puts the last 64 KiB of the window and of so much content where the next block may reach back to them. @returns size of the window then */
  keepWindow(windowBytes: number, contentBytes: number): number {
    this.#bytes.copyWithin(dictionaryOffsetBytes, dictionaryOffsetBytes + contentBytes, contentOffsetBytes + contentBytes);
    return Math.min(dictionaryBytes, windowBytes + contentBytes);
  }

  /**
   * Mixes stripes into the four lanes of an XXH32 (xxHash: doc/xxhash_spec.md, "Step 2. Process stripes").
   * @param bytes whole stripes of 16 bytes, at best a part of this memory: others are copied
   */
  mixStripes(lanes: Int32Array, bytes: Buffer): void {
    this.#lanes.set(lanes);
    if (bytes.buffer === this.#bytes.buffer)
      this.#functions.mixStripes(lanesOffsetBytes, bytes.byteOffset, bytes.byteOffset + bytes.length);
    else {
      for (let offset = 0; offset < bytes.length; offset += stagedBytes) {
        const sizeBytes = copyBytes(bytes.subarray(offset, offset + stagedBytes), this.#bytes, stagedOffsetBytes);
        this.#functions.mixStripes(lanesOffsetBytes, stagedOffsetBytes, stagedOffsetBytes + sizeBytes);
      }
    }
    lanes.set(this.#lanes);
  }

  #part(offsetBytes: number, sizeBytes: number): Buffer {
    if (sizeBytes > largestBlockBytes) throw new RangeError(`an LZ4 block of ${sizeBytes} bytes has no room`);
    return this.#bytes.subarray(offsetBytes, offsetBytes + sizeBytes);
  }
}

/** A thread extracts so many tars at a time, and so many memories are kept for the next frames; others are left to the garbage collector. */
const keptMaximum = 4;
/** So long after the last frame the kept ones are given back to the system. */
const idleMs = 60_000;
const kept: Lz4Memory[] = [];
let idleTimer: NodeJS.Timeout | undefined;

/** Lends a memory while the frame's pieces are asked for. Each new one takes gigabytes of addresses until the garbage collector runs: they are used again. */
export async function* inLz4Memory(frame: (memory: Lz4Memory) => AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const memory = kept.pop() ?? new Lz4Memory();
  try {
    yield* frame(memory);
  } finally {
    if (kept.length < keptMaximum) kept.push(memory);
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => kept.splice(0), idleMs).unref();
  }
}
