/** The encryptions of stored objects, by the keys that are configured; a new one is a file in encryption/ and a line here. */
import { WalkbackError } from '../domain/errors.ts';
import { ByteSource } from './byte-source.ts';
import type { Chunks } from './compression/codec.ts';
import { none } from './compression/none.ts';
import { type ObjectCipher, type ObjectDecryption, type ObjectEncryption, recognitionBytes, WrongKeyError } from './encryption/cipher.ts';
import type { LibsodiumOptions } from './encryption/libsodium.ts';
import type { OpenPgpKeys } from './encryption/openpgp.ts';

/** The encryptions that are written. `none`: not encrypted, even though keys for reading are configured. */
export const writtenEncryptions = ['libsodium', 'none'] as const;
export type Encryption = (typeof writtenEncryptions)[number];

/** What is configured. */
export interface CipherSettings {
  /** How new objects are written. Undefined: with the key that WAL-G would use, and without any key not at all. */
  readonly encryption: Encryption | undefined;
  readonly libsodium: ({ readonly key: Buffer } & LibsodiumOptions) | undefined;
  readonly openPgp: OpenPgpKeys | undefined;
  /** A setting of WAL-G or WAL-E that asks for an encryption which we have not. */
  readonly foreignSetting: string | undefined;
}

/**
 * How objects are encrypted; undefined when they are not. What would have to be written in a form that we do not write is not written in another
 * by itself, least of all in plain text: the cipher then only reads.
 * @throws WalkbackError INVALID_CONFIGURATION
 */
export async function openObjectCipher(settings: CipherSettings): Promise<ObjectCipher | undefined> {
  const sodium = settings.libsodium === undefined ? undefined : await openLibsodium(settings.libsodium);
  const pgp = settings.openPgp === undefined ? undefined : await openOpenPgp(settings.openPgp);
  const whyReadOnly = readOnlyReason(settings);
  const isPlain = whyReadOnly === undefined && (settings.encryption === 'none' || sodium === undefined);
  if (isPlain && sodium === undefined && pgp === undefined) return undefined;
  const readable = [pgp, sodium, isPlain ? plainText : undefined].filter((decryption) => decryption !== undefined);
  const cipher: ObjectCipher = {
    decrypt: decryptionOf(readable),
    encrypt: whyReadOnly === undefined ? (isPlain ? plainText : sodium)?.encrypt : undefined,
    whyReadOnly,
  };
  settingsOfCiphers.set(cipher, settings);
  return cipher;
}

/** Loaded when they are configured: OpenPGP takes longer to load than a small backup takes to fetch, and each thread would load it. */
async function openLibsodium({ key, ...options }: NonNullable<CipherSettings['libsodium']>): Promise<ObjectEncryption> {
  const { libsodium } = await import('./encryption/libsodium.ts');
  // A key that was passed to a thread has become a plain array.
  return libsodium(Buffer.from(key), options);
}

async function openOpenPgp(keys: OpenPgpKeys): Promise<ObjectDecryption> {
  const { openPgp } = await import('./encryption/openpgp.ts');
  return await openPgp(keys);
}

const settingsOfCiphers = new WeakMap<ObjectCipher, CipherSettings>();

/** What a cipher was opened with: a thread that decrypts opens one of its own, because functions cannot be passed to it. */
export function settingsOfCipher(cipher: ObjectCipher): CipherSettings {
  const settings = settingsOfCiphers.get(cipher);
  if (settings === undefined) throw new WalkbackError('INTERNAL', 'The cipher was not opened by openObjectCipher.');
  return settings;
}

/** @throws WalkbackError ENCRYPTION_READ_ONLY when objects can be read only: asked before any work that ends in writing them */
export function assertWritable(cipher: ObjectCipher | undefined): void {
  if (cipher?.whyReadOnly === undefined) return;
  throw new WalkbackError('ENCRYPTION_READ_ONLY', `Nothing can be written to the archive: ${cipher.whyReadOnly}.`);
}

/** WAL-G's own order: OpenPGP, the key services, libsodium (wal-g: internal/configure.go, ConfigureCrypterForSpecificConfig). */
function readOnlyReason({ encryption, openPgp, foreignSetting, libsodium: sodium }: CipherSettings): string | undefined {
  if (encryption === 'libsodium' && sodium === undefined)
    throw new WalkbackError('INVALID_CONFIGURATION', 'storage.encryption is libsodium, and there is no key.', {
      hint: 'Set storage.libsodium_key_file, WALG_LIBSODIUM_KEY_PATH or WALG_LIBSODIUM_KEY.',
    });
  if (encryption !== undefined) return undefined;
  if (foreignSetting !== undefined) return `${foreignSetting} is set, an encryption that walkback does not have`;
  return openPgp === undefined ? undefined : 'an OpenPGP key is configured, and walkback only reads OpenPGP';
}

/** Not encrypted. It accepts everything, so it is asked last. */
const plainText: ObjectEncryption = {
  name: 'no encryption',
  recognizes: () => true,
  encrypt: none.compress,
  decrypt: none.decompress,
};

function decryptionOf(readable: readonly ObjectDecryption[]): ObjectCipher['decrypt'] {
  const [first] = readable;
  if (readable.length === 1 && first !== undefined) return first.decrypt;
  return (chunks) => decryptRecognized(chunks, readable);
}

async function* decryptRecognized(chunks: Chunks, readable: readonly ObjectDecryption[]): AsyncGenerator<Buffer> {
  const source = new ByteSource(chunks);
  try {
    const head = await source.upTo(recognitionBytes);
    const decryption = readable.find(({ recognizes }) => recognizes(head));
    if (decryption === undefined) throw new WrongKeyError(unrecognized(readable));
    yield* decryption.decrypt(withHead(head, source));
  } finally {
    await source.close();
  }
}

function unrecognized(readable: readonly ObjectDecryption[]): string {
  if (readable.length === 0) return 'no key is configured';
  return `it fits none of the keys, ${readable.map(({ name }) => name).join(' and ')}`;
}

async function* withHead(head: Buffer, source: ByteSource): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* source.rest();
}
