// The packages of package-lock.json. A stamp inside node_modules holds the lock file's hash, so that removing node_modules, or pulling a
// commit with another lock file, installs again and nothing else does.

import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execute, reasonOf } from './execute.mjs';
import { allowReadingByAll } from './files.mjs';
import { packageRoot } from './places.mjs';
import { SetupError, step } from './say.mjs';

const stampPath = join(packageRoot, 'node_modules', '.walkback-lock-sha256');

/** Runs `npm ci` unless node_modules is what the lock file says already. */
export async function setUpNpmPackages() {
  const lock = await readFile(join(packageRoot, 'package-lock.json'));
  const wanted = createHash('sha256').update(lock).digest('hex');
  if ((await readFile(stampPath, 'utf8').catch(() => '')) === wanted) return;
  await step('installed the npm packages', async () => {
    await npm(['ci', '--include=dev'], packageRoot);
    await allowReadingByAll(join(packageRoot, 'node_modules'));
  });
  await writeFile(stampPath, wanted);
}

/** Runs npm in a directory. */
export async function npm(args, directory) {
  try {
    return await execute('npm', [...args, '--no-fund', '--no-audit', '--loglevel=error'], { cwd: directory, env: npmEnvironment() });
  } catch (error) {
    throw new SetupError(
      `npm ${args[0]} failed (${reasonOf(error)})`,
      `run \`cd ${directory} && npm ${args.join(' ')}\` to see all of it.`,
    );
  }
}

/** The environment less what the outer `npm run` says about itself, which would make an inner npm work for the wrong package. */
function npmEnvironment() {
  const aboutTheOuterRun = /^npm_(package|lifecycle|command|config_local_prefix)|^INIT_CWD$|^NODE_ENV$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !aboutTheOuterRun.test(name)));
}
