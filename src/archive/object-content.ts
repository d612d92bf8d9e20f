/** From content to stored bytes and back: compressed first, encrypted then. The one place that puts the two together. */
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { decompressionOf } from './compression.ts';
import type { Chunks, Codec, CompressOptions, ContentTarget, DecompressOptions } from './compression/codec.ts';
import { type ObjectCipher, WrongKeyError } from './encryption/cipher.ts';
import { assertWritable } from './encryption.ts';

/** How an object is stored. */
export interface StoredFormOptions extends CompressOptions {
  readonly codec: Codec;
  readonly cipher: ObjectCipher | undefined;
}

/** The bytes to be stored, each piece valid until the next is asked for. @throws WalkbackError ENCRYPTION_READ_ONLY */
export function storedForm(chunks: Chunks, { codec, cipher, ...options }: StoredFormOptions): AsyncIterable<Buffer> {
  assertWritable(cipher);
  const compressed = codec.compress(chunks, options);
  return cipher?.encrypt === undefined ? compressed : cipher.encrypt(compressed);
}

/** A stored object, and how its content is read. */
interface StoredForm extends Pick<DecompressOptions, 'inThisThread'> {
  readonly key: string;
  /** Of its compression. */
  readonly extension: string;
  readonly cipher: ObjectCipher | undefined;
}

/** The content of stored bytes; `target` is where the next piece is wanted. */
export type ContentReader = (stored: Chunks, target?: ContentTarget) => AsyncIterable<Buffer>;

/**
 * How an object's content is read.
 * The reader throws WalkbackError DECRYPTION_FAILED naming the key when the beginning fits no key, SyntaxError and the codec's own errors for damage.
 * @throws WalkbackError ARCHIVE_FORMAT_UNSUPPORTED for an extension that nobody knows
 */
export function contentReader({ key, extension, cipher, ...options }: StoredForm): ContentReader {
  const { decompress } = decompressionOf(extension, key);
  if (cipher === undefined) return (stored, target) => plainContent(decompress(stored, { ...options, target }));
  return (stored, target) => decompress(decrypted(stored, key, cipher), { ...options, target });
}

async function* decrypted(stored: Chunks, key: string, cipher: ObjectCipher): AsyncGenerator<Buffer> {
  try {
    yield* cipher.decrypt(stored);
  } catch (error) {
    if (!(error instanceof WrongKeyError)) throw error;
    throw new WalkbackError('DECRYPTION_FAILED', `${key} cannot be decrypted: ${error.message}.`, { facts: { key }, cause: error });
  }
}

/** An encrypted object that is read without a key is no data from its first byte on: then the error says so too. */
async function* plainContent(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isFirst = true;
  try {
    for await (const chunk of content) {
      isFirst = false;
      yield chunk;
    }
  } catch (error) {
    // What the store throws is no property of the object, and neither is what a file system throws.
    if (!isFirst || error instanceof WalkbackError || (error instanceof Error && 'syscall' in error)) throw error;
    throw new SyntaxError(`${messageOf(error)}; or it is encrypted, and no key is configured`, { cause: error });
  }
}
