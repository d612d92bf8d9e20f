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
  readonly resolve: (sizeBytes: number) => void;
  readonly reject: (error: Error) => void;
}

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

  /** Takes the next bytes. */
  receive(piece: Buffer): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    const sizeBytes = waiting === undefined ? 0 : piece.copy(waiting.target);
    if (sizeBytes < piece.length) this.#pieces.push(piece.subarray(sizeBytes));
    waiting?.resolve(sizeBytes);
  }

  /** All bytes have come. */
  finish(): void {
    this.#isComplete = true;
    if (!this.isBehind) this.#release();
    this.#waiting?.resolve(0);
    this.#waiting = undefined;
  }

  /** The rest does not come. What came before can be read. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  override async readInto(target: Uint8Array): Promise<number> {
    const [piece] = this.#pieces;
    if (piece !== undefined) return this.#takeFrom(piece, target);
    if (this.#isComplete) return 0;
    if (this.#failure !== undefined) throw this.#failure;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#waiting = { target, resolve, reject };
    this.#source.resume();
    return await promise;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#pieces.length = 0;
    this.fail(error ?? new Error('the body is not read any more'));
    if (!this.#isReleased) this.#source.abandon();
    callback(error);
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
