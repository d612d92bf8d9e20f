// Makes dist/, what is published: JavaScript and type declarations from tsc, the plain files that PostgreSQL calls, and the workflow
// bundle, which makes a worker start in a tenth of the time. Needs the packages of `npm ci` and Node 22.18 or newer.

import { spawnSync } from 'node:child_process';
import { chmod, cp, rm, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { packageRoot } from './setup/places.mjs';

const source = join(packageRoot, 'src');
const destination = join(packageRoot, 'dist');

/** tsc and the bundler say themselves what is wrong, so their exit code is all that is added. */
function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: packageRoot, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** Directories, and every file that tsc does not turn into something else. */
async function isCopied(path) {
  return (await stat(path)).isDirectory() || extname(path) !== '.ts';
}

await rm(destination, { recursive: true, force: true });
run([join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'scripts/tsconfig.build.json']);
await cp(source, destination, { recursive: true, filter: isCopied });
run(['scripts/bundle-workflows.mjs', join(destination, 'workflow-bundle.js')]);
await chmod(join(destination, 'cli', 'main.js'), 0o755);
