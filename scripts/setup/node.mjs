// Node 24, from the npm package `node`: the sources are TypeScript that Node itself strips, which an older Node on PATH cannot do.

import { join } from 'node:path';
import { execute, reasonOf } from './execute.mjs';
import { npm } from './npm-packages.mjs';
import { packageRoot } from './places.mjs';
import { SetupError, say } from './say.mjs';

const lowest = [22, 18];
const executable = join(packageRoot, 'node_modules', 'node', 'bin', 'node');

/** The path of a Node that is new enough; builds it from its package when the package's install script was kept from running. */
export async function setUpNode() {
  if (isNewEnough(await versionOf(executable))) return executable;
  say('the install script of the npm package `node` did not run; running it now');
  await npm(['rebuild', 'node', '--foreground-scripts'], packageRoot);
  const version = await versionOf(executable);
  if (isNewEnough(version)) return executable;
  throw new SetupError(
    `Node ${lowest.join('.')} or newer is needed and the npm package \`node\` gave ${version}`,
    'allow its install script (`npm config delete ignore-scripts`), then remove node_modules and try again.',
  );
}

async function versionOf(node) {
  return execute(node, ['-p', 'process.versions.node']).then(
    (text) => text.trim(),
    (error) => `none (${reasonOf(error)})`,
  );
}

function isNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > lowest[0] || (major === lowest[0] && minor >= lowest[1]);
}
