// PostgreSQL servers. The demo needs one, of any supported major; the tests want several, so they always get the npm-packaged ones too.

import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execute } from './execute.mjs';
import { allowReadingByAll, findOnPath, isExecutable } from './files.mjs';
import { npm } from './npm-packages.mjs';
import { scriptsDirectory, toolsDirectory } from './places.mjs';
import { SetupError, step } from './say.mjs';

const supportedMajors = [14, 15, 16, 17, 18];
/** 15 is what Debian 12 installs, and the tests have majors enough without it. */
const allPackagedMajors = [14, 16, 17, 18];
const demoMajor = 17;
const directory = join(toolsDirectory, 'postgresql');
/** Where Debian and its kin keep one server a major. */
const systemDirectory = '/usr/lib/postgresql';

/** The `bin` directories of the servers to use, one a major, the preferred one first. */
export async function setUpPostgresql(purpose, environment) {
  const found = environment.WALKBACK_PG_BIN ? [await given(environment.WALKBACK_PG_BIN)] : await installedServers(environment);
  const forDemo = found.length > 0 ? [] : [demoMajor];
  const wantedMajors = purpose === 'demo' ? forDemo : allPackagedMajors;
  return distinctMajors([...found, ...(await packagedServers(wantedMajors))]);
}

async function given(binDirectory) {
  const major = await majorIn(binDirectory);
  if (major !== null && supportedMajors.includes(major)) return { major, binDirectory };
  throw new SetupError(
    `WALKBACK_PG_BIN names ${binDirectory}, which holds no PostgreSQL ${supportedMajors[0]} to ${supportedMajors.at(-1)} server`,
    'name a directory with initdb, pg_ctl and postgres, or unset it.',
  );
}

/** Newest first: a newcomer who has several sees the demo on the newest. */
async function installedServers(environment) {
  const names = await readdir(systemDirectory).catch(() => []);
  const onPath = await findOnPath('postgres', environment);
  const directories = names.map((name) => join(systemDirectory, name, 'bin'));
  if (onPath !== null) directories.push(dirname(onPath));
  const servers = await Promise.all(directories.map(async (binDirectory) => ({ major: await majorIn(binDirectory), binDirectory })));
  return servers.filter(({ major }) => supportedMajors.includes(major)).toSorted((left, right) => right.major - left.major);
}

/** The major version of the server in a `bin` directory, or null when the three programs are not all there. */
async function majorIn(binDirectory) {
  const programs = ['initdb', 'pg_ctl', 'postgres'].map((name) => join(binDirectory, name));
  if ((await Promise.all(programs.map(isExecutable))).includes(false)) return null;
  const version = await execute(join(binDirectory, 'postgres'), ['--version']).catch(() => '');
  const major = /\(PostgreSQL\) (\d+)/.exec(version)?.[1];
  return major === undefined ? null : Number(major);
}

function distinctMajors(servers) {
  const first = new Map();
  for (const { major, binDirectory } of servers) if (!first.has(major)) first.set(major, binDirectory);
  return [...first.values()];
}

/** Those that are there already, and those that the purpose calls for. */
async function packagedServers(wantedMajors) {
  const present = await Promise.all(allPackagedMajors.map((major) => isExecutable(join(packagedBinDirectory(major), 'postgres'))));
  const missing = wantedMajors.filter((major) => !present[allPackagedMajors.indexOf(major)]);
  if (missing.length > 0) {
    requirePackagedPlatform();
    await step(`installed PostgreSQL ${missing.join(', ')}`, () => Promise.all(missing.map(installPackage)));
  }
  return allPackagedMajors
    .filter((major, index) => present[index] || wantedMajors.includes(major))
    .map((major) => ({ major, binDirectory: packagedBinDirectory(major) }));
}

function requirePackagedPlatform() {
  if (process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)) return;
  throw new SetupError(
    `no PostgreSQL server was found, and there is no packaged one for ${process.platform} ${process.arch}`,
    'install PostgreSQL, or name the directory of its programs in WALKBACK_PG_BIN.',
  );
}

function packageName(major) {
  return `pg${major}-${process.arch}`;
}

function packagedBinDirectory(major) {
  return join(directory, String(major), 'node_modules', packageName(major), 'native', 'bin');
}

/**
 * Installs the package of one major for this processor. npm is given the committed manifest and lock file less the other packages: what
 * is left is not optional any more, so a failed download is an error and not a silence. Renamed into its place when it is whole.
 */
async function installPackage(major) {
  const name = packageName(major);
  const place = join(directory, String(major));
  const partial = `${place}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  await writeManifest(partial, name);
  await npm(['ci', '--ignore-scripts'], partial);
  await makeLinks(join(partial, 'node_modules', name));
  await allowReadingByAll(partial);
  await rm(place, { recursive: true, force: true });
  await rename(partial, place);
}

async function writeManifest(partial, name) {
  const committed = join(scriptsDirectory, 'postgresql');
  const manifest = JSON.parse(await readFile(join(committed, 'package.json'), 'utf8'));
  const lock = JSON.parse(await readFile(join(committed, 'package-lock.json'), 'utf8'));
  const root = { name: manifest.name, private: true, dependencies: { [name]: manifest.optionalDependencies[name] } };
  const path = `node_modules/${name}`;
  const packages = { '': root, [path]: { ...lock.packages[path], optional: false } };
  await writeFile(join(partial, 'package.json'), JSON.stringify(root));
  await writeFile(join(partial, 'package-lock.json'), JSON.stringify({ ...lock, packages }));
}

/** npm packages cannot hold symbolic links, so each comes with a script that makes them; run here, because npm may be told to run none. */
async function makeLinks(packageDirectory) {
  await execute(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: packageDirectory });
}
