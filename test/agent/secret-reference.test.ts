import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateSecretFile, resolveSecretReference } from '../../src/agent/secret-reference.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'walkback-secret-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('resolveSecretReference', () => {
  it('reads the first line of a private file', async () => {
    const path = join(directory, 'password');
    await writeFile(path, 'tr0ub4dor &3 \nsecond line\n', { mode: 0o600 });
    expect(await resolveSecretReference(`file:${path}`)).toBe('tr0ub4dor &3 ');
  });

  it.each([
    ['readable by the group', 'geheim\n', 0o640, 'chmod 600'],
    ['readable by all', 'geheim\n', 0o604, 'chmod 600'],
    ['empty', '', 0o600, 'its first line is empty'],
    ['too large', 'x'.repeat(5000), 0o600, 'larger than 4096 bytes'],
  ])('refuses a file that is %s', async (_, content, mode, reason) => {
    const path = join(directory, 'password');
    await writeFile(path, content);
    await chmod(path, mode);
    await expect(resolveSecretReference(`file:${path}`)).rejects.toMatchObject({
      code: 'SECRET_UNREADABLE',
      message: expect.stringContaining(reason),
    });
  });

  it.each(['env:PASSWORD', 'file:relative', 'geheim'])('refuses the reference %j', async (reference) => {
    await expect(resolveSecretReference(reference)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' });
  });

  it('refuses a directory and a file that is not there', async () => {
    await expect(resolveSecretReference(`file:${directory}`)).rejects.toThrow('not a regular file');
    await expect(resolveSecretReference(`file:${directory}/absent`)).rejects.toThrow('ENOENT');
  });
});

describe('generateSecretFile', () => {
  it('makes a private file of 192 bits once, also when asked many times at once', async () => {
    const path = join(directory, 'password');
    const secrets = await Promise.all(Array.from({ length: 10 }, () => generateSecretFile(path)));
    expect(new Set(secrets).size).toBe(1);
    expect(secrets[0]).toMatch(/^[A-Za-z0-9_-]{32}$/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['password']);
  });
});
