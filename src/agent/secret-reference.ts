/**
 * Secrets by reference: requests and workflow histories hold `file:/path`, never the secret. The file is on the database host, 0600,
 * and its first line is the secret.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { syncDirectory, unfinishedPathOf, writeSynced } from '../files/durable-file.ts';

const secretMaximumBytes = 4096;
/** 192 bits of chance: 32 characters of base64url. */
const generatedSecretBytes = 24;
const othersMayReadOrWrite = 0o077;
const referencePrefix = 'file:';

/** Reads the secret that a reference names. @throws WalkbackError SECRET_UNREADABLE, without a word of the secret */
export async function resolveSecretReference(reference: string): Promise<string> {
  if (!reference.startsWith(`${referencePrefix}/`)) {
    throw unreadable(reference, 'it is not of the form file:/absolute/path');
  }
  const path = reference.slice(referencePrefix.length);
  const secret = (await readPrivateFile(path)).split('\n', 1)[0]?.replace(/\r$/, '') ?? '';
  if (secret === '') throw unreadable(path, 'its first line is empty');
  return secret;
}

/**
 * Makes a new secret in a file of mode 0600 and returns it. When the file exists its secret is used, so that a repeated attempt changes nothing.
 * The file appears as a whole, by a link that fails when the name is taken.
 * @throws WalkbackError SECRET_UNREADABLE when the existing file is not usable, or the directory cannot be written
 */
export async function generateSecretFile(path: string): Promise<string> {
  const unfinished = unfinishedPathOf(path);
  try {
    await writeSynced(unfinished, `${randomBytes(generatedSecretBytes).toString('base64url')}\n`);
    await link(unfinished, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unreadable(path, messageOf(error), error);
  } finally {
    await rm(unfinished, { force: true });
  }
  await syncDirectory(dirname(path));
  return resolveSecretReference(`${referencePrefix}${path}`);
}

/** O_NONBLOCK, so that a pipe in the place of the file cannot hold us. */
async function readPrivateFile(path: string): Promise<string> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) throw unreadable(path, 'it is not a regular file');
    if ((stats.mode & othersMayReadOrWrite) !== 0) throw unreadable(path, `others may read or write it; run: chmod 600 '${path}'`);
    if (stats.size > secretMaximumBytes) throw unreadable(path, `it is larger than ${secretMaximumBytes} bytes`);
    return await file.readFile('utf8');
  } catch (error) {
    throw error instanceof WalkbackError ? error : unreadable(path, messageOf(error), error);
  }
}

function unreadable(path: string, reason: string, cause?: unknown): WalkbackError {
  return new WalkbackError('SECRET_UNREADABLE', `The secret ${path} cannot be used: ${reason}.`, { facts: { path }, cause });
}
