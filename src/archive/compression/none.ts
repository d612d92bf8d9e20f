/** No compression: bytes pass through. */
import type { Codec } from './codec.ts';

export const none: Codec = {
  extension: '',
  async *compress(chunks) {
    // A copy, because the writer fills its buffers anew while the store still sends these bytes.
    for await (const chunk of chunks) yield Buffer.from(chunk);
  },
  async *decompress(chunks) {
    yield* chunks;
  },
};
