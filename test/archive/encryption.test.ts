import { createMessage, encrypt, generateKey, readKey } from 'openpgp';
import sodium from 'sodium-native';
import { beforeAll, describe, expect, it } from 'vitest';
import { assertWritable, type CipherSettings, openObjectCipher } from '../../src/archive/encryption.ts';
import { type ObjectEncryption, WrongKeyError } from '../../src/archive/encryption/cipher.ts';
import { libsodium } from '../../src/archive/encryption/libsodium.ts';
import { libsodiumKey } from '../../src/archive/encryption/libsodium-key.ts';
import { openPgp } from '../../src/archive/encryption/openpgp.ts';
import { codecs } from '../../src/archive/compression.ts';
import { contentReader, storedForm } from '../../src/archive/object-content.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { patternBytes } from './support/data-directory.ts';
import { collected, cut } from './support/pieces.ts';

const key = Buffer.alloc(32, 7);
const otherKey = Buffer.alloc(32, 8);
const sodiumCipher = libsodium(key);

async function sealed(content: Buffer, cipher: ObjectEncryption = sodiumCipher): Promise<Buffer> {
  return collected(cipher.encrypt([content]));
}

function flipped(bytes: Buffer, offset: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[offset] = (copy[offset] ?? 0) ^ 1;
  return copy;
}

describe('libsodium', () => {
  it.each([
    [0, 41],
    [1, 42],
    [8191, 8232],
    [8192, 8250],
    [8193, 8251],
    [16384, 16459],
  ])('libsodium stores %i bytes as %i, as WAL-G does: the last chunk is never full', async (contentBytes, storedBytes) => {
    const content = patternBytes(contentBytes, 'sodium');
    const stored = await sealed(content);
    expect(stored.length).toBe(storedBytes);
    expect(await collected(sodiumCipher.decrypt([stored]))).toEqual(content);
  });

  it('libsodium does not care in which pieces the bytes come', async () => {
    const content = patternBytes(3 * 1024 * 1024 + 17, 'pieces');
    for (const pieceBytes of [1000, 8192, 8209, 65_536, 1_000_003]) {
      const stored = await collected(sodiumCipher.encrypt(cut(content, pieceBytes)));
      expect((await collected(sodiumCipher.decrypt(cut(stored, pieceBytes)))).equals(content)).toBe(true);
    }
  });

  it('libsodium tells a wrong key, from the first bytes, from damage behind them', async () => {
    const stored = await sealed(patternBytes(40_000, 'wrong'));
    await expect(collected(libsodium(otherKey).decrypt([stored]))).rejects.toBeInstanceOf(WrongKeyError);
    await expect(collected(sodiumCipher.decrypt([Buffer.from('short')]))).rejects.toBeInstanceOf(WrongKeyError);
    for (const offset of [24 + 8209, stored.length - 1])
      await expect(collected(sodiumCipher.decrypt([flipped(stored, offset)]))).rejects.toThrow(SyntaxError);
  });

  it('libsodium takes an object that was cut between two chunks for damaged, unless it is to be salvaged', async () => {
    const content = patternBytes(40_000, 'cut');
    const stored = await sealed(content);
    const cut = stored.subarray(0, 24 + 2 * 8209);
    await expect(collected(sodiumCipher.decrypt([cut]))).rejects.toThrow('ends early');
    await expect(collected(sodiumCipher.decrypt([stored.subarray(0, -5)]))).rejects.toThrow(SyntaxError);
    const salvage = libsodium(key, { acceptMissingEnd: true });
    expect((await collected(salvage.decrypt([cut]))).equals(content.subarray(0, 2 * 8192))).toBe(true);
    expect((await collected(salvage.decrypt([stored]))).equals(content)).toBe(true);
  });

  it('libsodium refuses what WAL-G never writes: an end in a full chunk, and bytes behind the end', async () => {
    const stored = await sealed(patternBytes(20_000, 'end'));
    await expect(collected(sodiumCipher.decrypt([stored, Buffer.from('x')]))).rejects.toThrow(SyntaxError);
    const state = Buffer.alloc(sodium.crypto_secretstream_xchacha20poly1305_STATEBYTES);
    const full = Buffer.alloc(24 + 8209);
    sodium.crypto_secretstream_xchacha20poly1305_init_push(state, full.subarray(0, 24), key);
    const final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    sodium.crypto_secretstream_xchacha20poly1305_push(state, full.subarray(24), Buffer.alloc(8192), null, final);
    await expect(collected(sodiumCipher.decrypt([full]))).rejects.toThrow('full chunk');
  });
});

describe('libsodiumKey', () => {
  const hex = '0123456789abcdef'.repeat(4);

  it('libsodiumKey makes a key of a text, of hexadecimal digits and of base64, as WAL-G does', () => {
    expect(libsodiumKey(hex, 'hex').toString('hex')).toBe(hex);
    expect(libsodiumKey(Buffer.from(hex, 'hex').toString('base64'), 'base64').toString('hex')).toBe(hex);
    const passphrase = 'a passphrase of 26 letters';
    expect(libsodiumKey(passphrase, 'none')).toEqual(Buffer.concat([Buffer.from(passphrase), Buffer.alloc(6)]));
    expect(libsodiumKey(`${'x'.repeat(32)}y`, 'none')).toEqual(Buffer.from('x'.repeat(32)));
  });

  it.each([
    ['twenty four letters long', 'none'],
    [hex.slice(2), 'hex'],
    [`${hex.slice(1)}g`, 'hex'],
    [Buffer.alloc(31).toString('base64'), 'base64'],
    [Buffer.alloc(32, 0xfb).toString('base64url'), 'base64'],
  ] as const)('libsodiumKey refuses %s as %s, and does not say what it was', (text, transform) => {
    expect(() => libsodiumKey(text, transform)).toThrow(WalkbackError);
    expect(() => libsodiumKey(text, transform)).not.toThrow(text);
  });
});

describe('OpenPGP', () => {
  const passphrase = 'of the private key';
  const keys = { own: '', ownPublic: '', stranger: '' };

  beforeAll(async () => {
    const own = await generateKey({ userIDs: [{ name: 'backup' }], passphrase });
    const stranger = await generateKey({ userIDs: [{ name: 'stranger' }] });
    Object.assign(keys, { own: own.privateKey, ownPublic: own.publicKey, stranger: stranger.privateKey });
  });

  /** A message to our key; WAL-G's library says `u` or `t` where `b` is meant. */
  async function messageOf(content: Buffer, literal: 'binary' | 'utf8' | 'text' = 'binary'): Promise<Buffer> {
    const message = await createMessage({ binary: content, format: literal });
    const encryptionKeys = await readKey({ armoredKey: keys.ownPublic });
    return Buffer.from(await encrypt({ message, encryptionKeys, format: 'binary' }));
  }

  it.each(['binary', 'utf8', 'text'] as const)('OpenPGP messages are read as bytes when they claim to be %s', async (literal) => {
    const content = Buffer.concat([Buffer.from('line\r\nend\n\r'), patternBytes(300_000, 'pgp')]);
    const cipher = await openPgp({ armored: keys.own, passphrase });
    const message = await messageOf(content, literal);
    expect((await collected(cipher.decrypt(cut(message, 10_007)))).equals(content)).toBe(true);
    expect(cipher.recognizes(message)).toBe(true);
  });

  it('OpenPGP keys may have their line ends written as in WALG_PGP_KEY', async () => {
    const cipher = await openPgp({ armored: keys.own.replaceAll('\r', '').replaceAll('\n', '\\n'), passphrase });
    expect(await collected(cipher.decrypt([await messageOf(Buffer.from('x'))]))).toEqual(Buffer.from('x'));
  });

  it('OpenPGP messages that were changed, cut, or are for somebody else are errors', async () => {
    const cipher = await openPgp({ armored: keys.own, passphrase });
    const message = await messageOf(patternBytes(300_000, 'pgp'));
    for (const damaged of [flipped(message, 200_000), flipped(message, message.length - 1), message.subarray(0, -100)])
      await expect(collected(cipher.decrypt(cut(damaged, 65_536)))).rejects.toThrow(SyntaxError);
    const stranger = await openPgp({ armored: keys.stranger, passphrase: undefined });
    await expect(collected(stranger.decrypt([message]))).rejects.toBeInstanceOf(WrongKeyError);
    expect(stranger.recognizes(message)).toBe(false);
  });

  it('OpenPGP messages are decrypted while they arrive', async () => {
    const cipher = await openPgp({ armored: keys.own, passphrase });
    const message = await messageOf(patternBytes(8 * 1024 * 1024, 'large'));
    let takenBytes = 0;
    const counted = function* (): Generator<Buffer> {
      for (const piece of cut(message, 65_536)) {
        takenBytes += piece.length;
        yield piece;
      }
    };
    let givenBytes = 0;
    let maximumHeldBytes = 0;
    for await (const chunk of cipher.decrypt(counted())) {
      givenBytes += chunk.length;
      maximumHeldBytes = Math.max(maximumHeldBytes, takenBytes - givenBytes);
    }
    expect(givenBytes).toBe(8 * 1024 * 1024);
    expect(maximumHeldBytes).toBeLessThan(1024 * 1024);
  });

  it('OpenPGP passes on what the store throws, which is no property of the message', async () => {
    const cipher = await openPgp({ armored: keys.own, passphrase });
    const message = await messageOf(patternBytes(300_000, 'pgp'));
    const failing = function* (): Generator<Buffer> {
      yield message.subarray(0, 100_000);
      throw new WalkbackError('STORAGE_UNREACHABLE', 'the store went away');
    };
    await expect(collected(cipher.decrypt(failing()))).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
  });

  it('OpenPGP keys that are public, locked or no keys are refused', async () => {
    const refused = { code: 'INVALID_CONFIGURATION' };
    await expect(openPgp({ armored: keys.ownPublic, passphrase })).rejects.toMatchObject(refused);
    await expect(openPgp({ armored: keys.own, passphrase: 'wrong' })).rejects.toMatchObject(refused);
    await expect(openPgp({ armored: 'nonsense', passphrase })).rejects.toMatchObject(refused);
  });

  it('beside a libsodium key for writing, objects of either are read, and no others', async () => {
    const cipher = await openObjectCipher({
      ...settings,
      encryption: 'libsodium',
      openPgp: { armored: keys.own, passphrase },
      libsodium: { key },
    });
    const content = patternBytes(100_000, 'both');
    if (cipher?.encrypt === undefined) throw new Error('nothing can be written');
    expect((await collected(cipher.decrypt([await messageOf(content)]))).equals(content)).toBe(true);
    expect((await collected(cipher.decrypt([await collected(cipher.encrypt([content]))]))).equals(content)).toBe(true);
    await expect(collected(cipher.decrypt([content]))).rejects.toThrow('it fits none of the keys, OpenPGP and libsodium');
  });

  it('with an OpenPGP key alone nothing is written, until somebody says how', async () => {
    const pgp = { ...settings, openPgp: { armored: keys.own, passphrase } };
    const cipher = await openObjectCipher(pgp);
    expect(() => assertWritable(cipher)).toThrow(expect.objectContaining({ code: 'ENCRYPTION_READ_ONLY' }));
    expect(() => storedForm([], { codec: codecs.zstd, cipher })).toThrow(expect.objectContaining({ code: 'ENCRYPTION_READ_ONLY' }));
    const plain = await openObjectCipher({ ...pgp, encryption: 'none' });
    expect(() => assertWritable(plain)).not.toThrow();
    expect(plain === undefined ? '' : (await collected(plain.decrypt([Buffer.from('plain')]))).toString()).toBe('plain');
  });
});

const settings: CipherSettings = { encryption: undefined, libsodium: undefined, openPgp: undefined, foreignSetting: undefined };

describe('openObjectCipher', () => {
  it('openObjectCipher encrypts nothing without a key, and with a libsodium key everything', async () => {
    expect(await openObjectCipher(settings)).toBeUndefined();
    const cipher = await openObjectCipher({ ...settings, libsodium: { key } });
    expect(cipher?.encrypt).toBeDefined();
    expect(() => assertWritable(cipher)).not.toThrow();
  });

  it('openObjectCipher writes no plain text where a setting asks for an encryption that it has not', async () => {
    const cipher = await openObjectCipher({ ...settings, foreignSetting: 'WALE_GPG_KEY_ID' });
    expect(() => assertWritable(cipher)).toThrow('WALE_GPG_KEY_ID is set');
    await expect(collected(cipher?.decrypt([Buffer.from('x')]) ?? sodiumCipher.decrypt([]))).rejects.toThrow('no key is configured');
  });

  it('openObjectCipher refuses libsodium without a key', async () => {
    await expect(openObjectCipher({ ...settings, encryption: 'libsodium' })).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });
});

describe('contentReader', () => {
  const stored = (cipher: ObjectEncryption | undefined) =>
    storedForm([patternBytes(50_000, 'content')], { codec: codecs.zstd, cipher: cipherOf(cipher) });
  const cipherOf = (cipher: ObjectEncryption | undefined) => (cipher === undefined ? undefined : { ...cipher, whyReadOnly: undefined });
  const read = (cipher: ObjectEncryption | undefined) =>
    contentReader({ key: 'wal_005/x.zst', extension: 'zst', cipher: cipherOf(cipher) });

  it('contentReader names the object that does not fit the key, and says what to do', async () => {
    const failure = await collected(read(libsodium(otherKey))(stored(sodiumCipher))).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'DECRYPTION_FAILED',
      message: expect.stringContaining('wal_005/x.zst cannot be decrypted'),
      hint: expect.stringContaining('storage.libsodium_key_file'),
    });
    expect((await collected(read(sodiumCipher)(stored(sodiumCipher)))).length).toBe(50_000);
  });

  it('contentReader says that an object may be encrypted when it is read without a key', async () => {
    await expect(collected(read(undefined)(stored(sodiumCipher)))).rejects.toThrow('or it is encrypted, and no key is configured');
  });
});
