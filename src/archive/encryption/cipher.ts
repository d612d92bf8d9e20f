/** What an encryption can do; one file of this folder for each. Objects are compressed first and encrypted then. */
import type { Chunks } from '../compression/codec.ts';

/** A form that stored objects are read in. */
export interface ObjectDecryption {
  /** For messages. */
  readonly name: string;
  /**
   * Was an object that begins so encrypted with our keys? Given the first `recognitionBytes` of it, or all of a shorter one. Nothing in an
   * archive says how it is encrypted, so this is asked where several ways are configured.
   */
  readonly recognizes: (head: Buffer) => boolean;
  /**
   * The bytes that were encrypted, in bounded pieces.
   * @throws WrongKeyError when not even the beginning fits the key, SyntaxError when what follows is damaged or ends early
   */
  readonly decrypt: (chunks: Chunks) => AsyncIterable<Buffer>;
}

/** A form that they are written in too. */
export interface ObjectEncryption extends ObjectDecryption {
  /** The bytes to be stored. Never the very buffers that it was given. */
  readonly encrypt: (chunks: Chunks) => AsyncIterable<Buffer>;
}

/** How the objects of an archive are encrypted. */
export interface ObjectCipher {
  readonly decrypt: ObjectDecryption['decrypt'];
  /** Undefined: objects can be read only, for the reason given. */
  readonly encrypt: ObjectEncryption['encrypt'] | undefined;
  readonly whyReadOnly: string | undefined;
}

/** Enough of an object to recognise any encryption: a secretstream's header and its first chunk. */
export const recognitionBytes = 24 + 8192 + 17;

/** The beginning of an object cannot be decrypted: it is of another key, or not encrypted this way, or damaged there. */
export class WrongKeyError extends Error {
  override readonly name = 'WrongKeyError';
}
