import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { libsodium } from '../../src/archive/encryption/libsodium.ts';
import { loadConfiguration } from '../../src/config/load.ts';
import { openCipher } from '../../src/processes/cipher.ts';
import { temporaryDirectory } from '../archive/support/temporary.ts';

const hex = '0123456789abcdef'.repeat(4);

async function cipherOf(directory: string, yaml: string, environment: Readonly<Record<string, string>> = {}) {
  await writeFile(join(directory, 'walkback.yaml'), yaml);
  return openCipher(await loadConfiguration({ environment, workingDirectory: directory }));
}

/** Content that the key encrypted, as the cipher reads it. */
async function readBack(cipher: Awaited<ReturnType<typeof openCipher>>, key: Buffer): Promise<string> {
  let text = '';
  for await (const chunk of cipher?.decrypt(libsodium(key).encrypt([Buffer.from('content')])) ?? []) text += chunk.toString();
  return text;
}

describe('openCipher', () => {
  it('openCipher takes the key of a file, trimmed, and before it the key of WALG_LIBSODIUM_KEY', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'key');
    await writeFile(path, `\n${hex} \n`, { mode: 0o600 });
    const yaml = `storage: { libsodium_key_file: ${path}, libsodium_key_transform: hex }`;
    expect(await readBack(await cipherOf(directory.path, yaml), Buffer.from(hex, 'hex'))).toBe('content');
    const other = 'f'.repeat(64);
    const environment = { WALG_LIBSODIUM_KEY: other };
    expect(await readBack(await cipherOf(directory.path, yaml, environment), Buffer.from(other, 'hex'))).toBe('content');
    const names = { WALG_LIBSODIUM_KEY_PATH: path, WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' };
    expect(await readBack(await cipherOf(directory.path, '', names), Buffer.from(hex, 'hex'))).toBe('content');
  });

  it('openCipher refuses a key file that others may read, or that is not there, and does not say what is in it', async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'key');
    await writeFile(path, hex);
    await chmod(path, 0o644);
    const yaml = `storage: { libsodium_key_file: ${path}, libsodium_key_transform: hex }`;
    const failure: unknown = await cipherOf(directory.path, yaml).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringContaining(`chmod 600 '${path}'`) });
    expect(JSON.stringify(failure)).not.toContain(hex);
    await expect(cipherOf(directory.path, `storage: { pgp_key_file: ${path}.asc }`)).rejects.toMatchObject({
      code: 'INVALID_CONFIGURATION',
    });
  });

  it('openCipher encrypts nothing when nothing asks for it', async () => {
    await using directory = await temporaryDirectory();
    expect(await cipherOf(directory.path, '')).toBeUndefined();
    const cipher = await cipherOf(directory.path, '', { WALE_GPG_KEY_ID: '0123456789ABCDEF' });
    expect(cipher).toMatchObject({ encrypt: undefined, whyReadOnly: expect.stringContaining('WALE_GPG_KEY_ID') });
  });
});
