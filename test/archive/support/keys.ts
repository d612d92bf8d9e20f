/** Keys for tests of encryption. */

/** No key at all: what openObjectCipher takes beside the keys of a test. */
export const noKeys = { encryption: undefined, libsodium: undefined, openPgp: undefined, foreignSetting: undefined } as const;

/** libsodium keys as WAL-G's settings may hold them, by transform. */
export const sodiumKeys = {
  none: 'a passphrase of more than 32 letters, of which 32 count',
  hex: 'c0ffee00'.repeat(8),
  base64: Buffer.from('c0ffee00'.repeat(8), 'hex').toString('base64'),
} as const;
