/** Text that is kept until a backup ends: of a million files there are hundreds of MB, a tenth of it packed. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';

const fastestLevel = 1;

export class HeldText {
  readonly #packed: Buffer;

  constructor(text: string) {
    this.#packed = deflateRawSync(text, { level: fastestLevel });
  }

  text(): string {
    return inflateRawSync(this.#packed).toString('utf8');
  }
}
