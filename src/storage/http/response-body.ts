/** The body of an HTTP answer, as it comes off a connection. */
import { ReadableBytes } from '../byte-reader.ts';

/** Where the bytes come from. */
export interface BodySource {
  /** Everything that came was read: more may come. */
  readonly resume: () => void;
  /** The body was read to its end: the connection is free for the next request. */
  readonly release: () => void;
  /** Nobody reads the rest. */
  readonly abandon: () => void;
}

interface Waiting {
  readonly target: Uint8Array;
  /** At the target's beginning. */
  filledBytes: number;
  readonly onBytes: (() => void) | undefined;
  readonly resolve: (sizeBytes: number) => void;
  readonly reject: (error: Error) => void;
}

const nowhere = new Uint8Array(0);

/** What came and was not read yet is the connection's memory, which is filled anew only when all of it was read. */
export class ResponseBody extends ReadableBytes {
  readonly #source: BodySource;
  readonly #pieces: Buffer[] = [];
  #waiting: Waiting | undefined;
  #isComplete = false;
  #isReleased = false;
  #failure: Error | undefined;

  constructor(source: BodySource) {
    super();
    this.#source = source;
  }

  /** Is something of what came still to be read? Then nothing more may come. */
  get isBehind(): boolean {
    return this.#pieces.length > 0;
  }

  /** Where the next bytes are wanted: read to there, they need not be copied. Empty while nobody waits. */
  get wanted(): Uint8Array {
    return this.#waiting === undefined ? nowhere : this.#waiting.target.subarray(this.#waiting.filledBytes);
  }

  /** Takes the next bytes, which may lie where they are wanted. */
  receive(piece: Buffer): void {
    const sizeBytes = this.#waiting === undefined ? 0 : put(piece, this.wanted);
    if (sizeBytes < piece.length) this.#pieces.push(piece.subarray(sizeBytes));
    if (this.#waiting === undefined) return;
    this.#waiting.filledBytes += sizeBytes;
    if (this.#waiting.filledBytes === this.#waiting.target.length) this.#answer();
    else this.#waiting.onBytes?.();
  }

  /** All bytes have come. */
  finish(): void {
    this.#isComplete = true;
    if (!this.isBehind) this.#release();
    this.#answer();
  }

  /** The rest does not come. What came before can be read. */
  fail(error: Error): void {
    this.#failure ??= error;
    if (this.#waiting?.filledBytes === 0) this.#waiting.reject(error);
    else this.#answer();
    this.#waiting = undefined;
  }

  override async readInto(target: Uint8Array, onBytes?: () => void): Promise<number> {
    let filledBytes = 0;
    for (let [piece] = this.#pieces; piece !== undefined && filledBytes < target.length; [piece] = this.#pieces)
      filledBytes += this.#takeFrom(piece, target.subarray(filledBytes));
    if (filledBytes === target.length || this.#isComplete) return filledBytes;
    if (this.#failure !== undefined) {
      if (filledBytes > 0) return filledBytes;
      throw this.#failure;
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting = { target, filledBytes, onBytes, resolve, reject };
    this.#source.resume();
    return await promise;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#pieces.length = 0;
    this.fail(error ?? new Error('the body is not read any more'));
    if (!this.#isReleased) this.#source.abandon();
    callback(error);
  }

  #answer(): void {
    this.#waiting?.resolve(this.#waiting.filledBytes);
    this.#waiting = undefined;
  }

  #takeFrom(piece: Buffer, target: Uint8Array): number {
    const sizeBytes = piece.copy(target);
    if (sizeBytes < piece.length) this.#pieces[0] = piece.subarray(sizeBytes);
    else this.#pieces.shift();
    if (this.#isComplete && !this.isBehind) this.#release();
    return sizeBytes;
  }

  #release(): void {
    this.#isReleased = true;
    this.#source.release();
  }
}

/** @returns how many of the piece's bytes are at the beginning of the target now */
function put(piece: Buffer, target: Uint8Array): number {
  const isThere = piece.buffer === target.buffer && piece.byteOffset === target.byteOffset;
  return isThere ? Math.min(piece.length, target.length) : piece.copy(target);
}
