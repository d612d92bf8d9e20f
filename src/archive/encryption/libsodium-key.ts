/** The 32 bytes of libsodium's key, from what WAL-G's settings hold (wal-g: internal/crypto/libsodium/keytransform.go). */
import { WalkbackError } from '../../domain/errors.ts';

/** How a setting becomes a key: WALG_LIBSODIUM_KEY_TRANSFORM. */
export type KeyTransform = 'none' | 'hex' | 'base64';

const keyBytes = 32;
/** WAL-G refuses shorter passphrases. */
const minimumPassphraseBytes = 25;

/**
 * The key. `none` takes the text itself: from 25 bytes on, filled up with zeros or cut at 32; `hex` and `base64` (the standard alphabet, padded)
 * must decode to 32 bytes.
 * @throws WalkbackError INVALID_CONFIGURATION, without a word of the key
 */
export function libsodiumKey(text: string, transform: KeyTransform): Buffer {
  if (transform === 'none') return passphraseKey(Buffer.from(text, 'utf8'));
  const pattern = { hex: /^(?:[0-9a-f]{2})*$/i, base64: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/ }[transform];
  if (!pattern.test(text)) throw unusable(`it is not ${transform}`);
  const key = Buffer.from(text, transform);
  if (key.length !== keyBytes) throw unusable(`its ${transform} holds ${key.length} bytes instead of ${keyBytes}`);
  return key;
}

function passphraseKey(passphrase: Buffer): Buffer {
  if (passphrase.length < minimumPassphraseBytes)
    throw unusable(`it has ${passphrase.length} bytes, and at least ${minimumPassphraseBytes} are needed`);
  const key = Buffer.alloc(keyBytes);
  passphrase.copy(key, 0, 0, keyBytes);
  return key;
}

function unusable(reason: string): WalkbackError {
  return new WalkbackError('INVALID_CONFIGURATION', `The libsodium key cannot be used: ${reason}.`, {
    hint: 'Check WALG_LIBSODIUM_KEY (or the file with the key) and WALG_LIBSODIUM_KEY_TRANSFORM, which is none, hex or base64.',
  });
}
