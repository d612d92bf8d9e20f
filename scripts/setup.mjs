// Brings in what the demo and the tests need: `node scripts/setup.mjs demo|test`. Runs on Node 20 with nothing installed, may be run any
// number of times, and writes .tools/tools.json, where the programs look up what was found. Everything it says goes to stderr, because
// `npm run demo -- --json` promises a stdout that holds one document and nothing else.

import './check-node.mjs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { withLock } from './setup/lock.mjs';
import { toolsDirectory, packageRoot } from './setup/places.mjs';
import { setUpNode } from './setup/node.mjs';
import { setUpNpmPackages } from './setup/npm-packages.mjs';
import { setUpPostgresql } from './setup/postgresql.mjs';
import { SetupError, say } from './setup/say.mjs';
import { setUpTemporal } from './setup/temporal.mjs';

const purposes = ['demo', 'test'];

async function main(purpose) {
  if (!purposes.includes(purpose)) {
    throw new SetupError(`"${purpose ?? ''}" is not something to set up for`, 'run `node scripts/setup.mjs demo` or `… test`.');
  }
  await mkdir(toolsDirectory, { recursive: true });
  await withLock(join(toolsDirectory, 'setup.lock'), async () => {
    await setUpNpmPackages();
    const node = await setUpNode();
    const temporal = await setUpTemporal(process.env);
    const postgres = await setUpPostgresql(purpose, process.env);
    await writeTools({ node: fromRoot(node), temporal: fromRoot(temporal), postgres: postgres.map(fromRoot) });
  });
}

/** Relative where the tool lies inside the package, so that a copy of the whole tree finds its own tools. */
function fromRoot(path) {
  if (path === null) return null;
  const inside = relative(packageRoot, path);
  return inside.startsWith('..') ? path : inside;
}

async function writeTools(tools) {
  const path = join(toolsDirectory, 'tools.json');
  const text = `${JSON.stringify(tools, null, 2)}\n`;
  if ((await readFile(path, 'utf8').catch(() => '')) === text) return;
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

try {
  await main(process.argv[2]);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(`${error.message}; ${error.remedy}`);
  process.exitCode = 1;
}
