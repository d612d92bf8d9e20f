/**
 * A context of Node's own Zstandard, driven step by step in the calling thread.
 *
 * The streams of node:zlib allocate every piece that they give out, and begin anew for every input. Both are spared by the call that node:zlib makes for its
 * synchronous functions (lib/zlib.js, processChunkSync), which is no public one: `openZstdContext` looks whether it is as expected, and says so when it is
 * not.
 */
import type { Transform } from 'node:stream';
import { createZstdCompress, createZstdDecompress, type ZstdOptions } from 'node:zlib';

/** What to do after the input was taken: ZSTD_EndDirective (zstd.h). */
export const zstdDirective = { continue: 0, end: 2 } as const;

/** What one step did. */
export interface ZstdStep {
  /** Bytes of the input that it took. */
  readonly takenBytes: number;
  /** Bytes that it put at the beginning of the output. */
  readonly madeBytes: number;
}

/** The binding's object: node's src/node_zlib.cc, CompressionStream. */
interface Binding {
  readonly writeSync: (
    directive: number,
    input: Buffer | null,
    inputOffsetBytes: number,
    inputBytes: number,
    output: Buffer,
    outputOffsetBytes: number,
    outputBytes: number,
  ) => void;
  readonly onerror: (message: string, errno: number, code: string) => void;
}

/** A compressor or decompressor for one frame after the other. */
export class ZstdContext implements Disposable {
  readonly #stream: Transform;
  readonly #binding: Binding;
  /** Room left in the output, and bytes left of the input, after a step. */
  readonly #left: Uint32Array;
  #failure: Error | undefined;

  constructor(stream: Transform, binding: Binding, left: Uint32Array) {
    this.#stream = stream;
    this.#binding = binding;
    this.#left = left;
    const onerror: Binding['onerror'] = (message, errno, code) => {
      this.#failure = Object.assign(new Error(message), { errno, code });
    };
    Object.assign(binding, { onerror });
  }

  /** Takes what it can from the input and fills what it can of the output. @throws Error with the code that zstd gives, for damaged input */
  step(directive: number, input: Buffer, output: Buffer): ZstdStep {
    this.#binding.writeSync(directive, input, 0, input.length, output, 0, output.length);
    if (this.#failure !== undefined) throw this.#failure;
    const [outputLeftBytes = 0, inputLeftBytes = 0] = this.#left;
    return { takenBytes: input.length - inputLeftBytes, madeBytes: output.length - outputLeftBytes };
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }
}

/** Opens a context. @returns undefined where Node's insides are not what this needs: the streams of node:zlib do the same work, slower */
export function openZstdContext(kind: 'compress' | 'decompress', options: ZstdOptions = {}): ZstdContext | undefined {
  const stream = kind === 'compress' ? createZstdCompress(options) : createZstdDecompress(options);
  const binding: unknown = Reflect.get(stream, '_handle');
  const left: unknown = Reflect.get(stream, '_writeState');
  if (isBinding(binding) && left instanceof Uint32Array) return new ZstdContext(stream, binding, left);
  stream.destroy();
  return undefined;
}

function isBinding(value: unknown): value is Binding {
  return typeof value === 'object' && value !== null && 'onerror' in value && 'writeSync' in value && typeof value.writeSync === 'function';
}
