/** Stock wal-g, where it is installed, and the archives that it wrote. */
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const outputMaximumBytes = 64 * 1024 * 1024;

/** Path of the program; undefined, and said so, when there is none. */
export const walG = findWalG();
/** Folder of the fixtures; undefined, and said so, when there is none. */
export const fixtures = [process.env['WALKBACK_FIXTURES'], resolve(import.meta.dirname, '../../../shared/fixtures')].find(
  (directory) => directory !== undefined && existsSync(join(directory, 'walg-zstd-deltas.tar')),
);
if (walG === undefined)
  process.stderr.write('\n*** SKIPPED: no wal-g (WALG_BIN or PATH): nothing proves that stock WAL-G reads what we write ***\n\n');
if (fixtures === undefined)
  process.stderr.write('\n*** SKIPPED: no fixtures (WALKBACK_FIXTURES): nothing proves that we read what stock WAL-G wrote ***\n\n');

/** Runs wal-g on an archive in a directory, with an environment of its own; its home is beside the archive. */
export async function runWalG(
  root: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const env = {
    PATH: process.env['PATH'],
    HOME: join(root, '..'),
    WALG_FILE_PREFIX: root,
    WALG_DOWNLOAD_FILE_RETRIES: '1',
    ...environment,
  };
  const { stdout } = await promisify(execFile)(walG ?? 'wal-g', parameters, { env, maxBuffer: outputMaximumBytes });
  return stdout;
}

function findWalG(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'wal-g'));
  return [process.env['WALG_BIN'] ?? '', ...onPath].find((path) => path !== '' && isExecutable(path));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there or not for us: the next candidate.
    return false;
  }
}
