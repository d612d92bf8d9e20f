/**
 * An envdir folder (daemontools, `envdir`): one file a variable, named as the variable; the value is its first line without the blanks at
 * its end, NUL bytes stand for line breaks; an empty file unsets the variable; names with a dot in front are no variables.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { Environment } from './environment.ts';

const filesMaximumCount = 1000;
const fileMaximumBytes = 64 * 1024;
const othersMay = 0o077;

/** Reads the folder. @throws WalkbackError INVALID_CONFIGURATION when it cannot be read, or when others may read it: it holds secrets */
export async function readEnvdir(directory: string): Promise<Environment> {
  try {
    await refuseShared(directory, '700');
    const names = (await readdir(directory)).filter((name) => !name.startsWith('.') && !name.includes('='));
    if (names.length > filesMaximumCount) throw unusable(directory, `it holds more than ${filesMaximumCount} files`);
    const entries = await Promise.all(names.map(async (name) => [name, await readVariable(join(directory, name))] as const));
    return Object.fromEntries(entries);
  } catch (error) {
    throw error instanceof WalkbackError ? error : unusable(directory, messageOf(error), error);
  }
}

/** @returns undefined for an empty file and for what is no file */
async function readVariable(path: string): Promise<string | undefined> {
  const stats = await stat(path);
  if (!stats.isFile()) return undefined;
  await refuseShared(path, '600');
  if (stats.size > fileMaximumBytes) throw unusable(path, `it is larger than ${fileMaximumBytes} bytes`);
  const line = (await readFile(path, 'utf8')).split('\n', 1)[0] ?? '';
  const value = line.replace(/[ \t\r]+$/, '').replaceAll('\0', '\n');
  return value === '' ? undefined : value;
}

async function refuseShared(path: string, wantedMode: '700' | '600'): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & othersMay) === 0) return;
  throw new WalkbackError(
    'INVALID_CONFIGURATION',
    `${path} is open to others than its owner (mode ${(mode & 0o777).toString(8)}), and it holds secrets.`,
    {
      hint: `Run: chmod ${wantedMode} '${path}'`,
    },
  );
}

function unusable(path: string, reason: string, cause?: unknown): WalkbackError {
  return new WalkbackError('INVALID_CONFIGURATION', `The envdir ${path} cannot be used: ${reason}`, {
    hint: 'Correct storage.envdir, or make the folder readable for the user that runs walkback.',
    cause,
  });
}
