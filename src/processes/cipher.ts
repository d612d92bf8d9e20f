/** The encryption of archives, as configuration and secrets say. Key files are read here, when a process that needs them starts. */
import { open } from 'node:fs/promises';
import type { ObjectCipher } from '../archive/encryption/cipher.ts';
import { libsodiumKey } from '../archive/encryption/libsodium-key.ts';
import { openObjectCipher } from '../archive/encryption.ts';
import type { LoadedConfiguration } from '../config/load.ts';
import { messageOf, WalkbackError } from '../domain/errors.ts';

/** A keyring with many subkeys has some tens of KiB. */
const keyFileMaximumBytes = 1024 * 1024;
const othersMay = 0o077;

/** Opens the cipher of all archives of this process; undefined when they are not encrypted. @throws WalkbackError INVALID_CONFIGURATION */
export async function openCipher({ configuration: { storage }, secrets }: LoadedConfiguration): Promise<ObjectCipher | undefined> {
  const sodiumText = secrets.libsodiumKey ?? (await trimmedFile(storage.libsodiumKeyFile));
  const armored = secrets.pgpKey ?? (await keyFile(storage.pgpKeyFile));
  const passphrase = secrets.pgpKeyPassphrase ?? (await keyFile(storage.pgpKeyPassphraseFile))?.split('\n', 1)[0]?.replace(/\r$/, '');
  const { encryption, libsodiumKeyTransform, libsodiumAcceptMissingEnd } = storage;
  return await openObjectCipher({
    encryption,
    libsodium:
      sodiumText === undefined
        ? undefined
        : { key: libsodiumKey(sodiumText, libsodiumKeyTransform), acceptMissingEnd: libsodiumAcceptMissingEnd },
    openPgp: armored === undefined ? undefined : { armored, passphrase },
    foreignSetting: secrets.foreignEncryption,
  });
}

/** WAL-G trims what the file holds, and not what the variable holds (wal-g: internal/crypto/libsodium/crypter.go). */
async function trimmedFile(path: string | undefined): Promise<string | undefined> {
  return (await keyFile(path))?.trim();
}

async function keyFile(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    await using file = await open(path, 'r');
    const stats = await file.stat();
    if ((stats.mode & othersMay) !== 0) throw unusable(path, `others may read or write it; run: chmod 600 '${path}'`);
    if (stats.size > keyFileMaximumBytes) throw unusable(path, `it is larger than ${keyFileMaximumBytes} bytes`);
    return await file.readFile('utf8');
  } catch (error) {
    throw error instanceof WalkbackError ? error : unusable(path, messageOf(error), error);
  }
}

function unusable(path: string, reason: string, cause?: unknown): WalkbackError {
  return new WalkbackError('INVALID_CONFIGURATION', `The key file ${path} cannot be used: ${reason}.`, { facts: { path }, cause });
}
