/** No compression: bytes pass through. */
import { PassThrough, Transform } from 'node:stream';
import { type Codec, compressorQueue } from './codec.ts';

export const none: Codec = {
  extension: '',
  createCompressor: () =>
    new Transform({
      ...compressorQueue,
      transform: (chunk: Buffer, _encoding, done) => {
        // A copy, because the writer fills its buffers anew while the store still sends these bytes.
        done(null, Buffer.from(chunk));
      },
    }),
  createDecompressor: () => new PassThrough(),
};
