/** Text that is kept until a backup ends: of a million files there are hundreds of MB, a tenth of it packed. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { collectGarbage } from '../collect-garbage.ts';

const fastestLevel = 1;
/** The least that zlib takes for a piece of output. */
const chunkMinimumBytes = 64;
/** Garbage is collected each time that so much was unpacked: V8 would let two documents of a hundred MiB lie. */
const collectedBytes = 16 * 1024 * 1024;
let unpackedBytes = 0;

export class HeldText {
  readonly #packed: Buffer;
  /** Of the text in UTF-8. */
  readonly sizeBytes: number;

  constructor(text: string) {
    const bytes = Buffer.from(text);
    this.sizeBytes = bytes.length;
    this.#packed = deflateRawSync(bytes, { level: fastestLevel });
  }

  /** The text in UTF-8. Its room is made once: pieces that grow and are joined would be twice as much garbage. */
  bytes(): Buffer {
    unpackedBytes += this.sizeBytes;
    if (unpackedBytes > collectedBytes) {
      collectGarbage();
      unpackedBytes = 0;
    }
    return inflateRawSync(this.#packed, { chunkSize: Math.max(chunkMinimumBytes, this.sizeBytes + 1) });
  }
}
