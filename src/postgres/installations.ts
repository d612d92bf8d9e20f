/** PostgreSQL's programs on this host. */
import { access, constants, glob, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { WalkbackError } from '../domain/errors.ts';
import { askedOnce } from './program-answers.ts';

/** One installed PostgreSQL. */
export interface PostgresInstallation {
  readonly major: number;
  /** As the programs print it, `15.18`. */
  readonly version: string;
  readonly binDirectory: string;
}

/** Where to look. Earlier places win over later ones. */
export interface InstallationSearch {
  /** Directories of programs, looked at first. Default: none. */
  readonly explicit?: readonly string[];
  /** More directories of programs, or patterns of them. Default: none. */
  readonly searchDirectories?: readonly string[];
  /** Look in the usual places of distributions and in PATH too. Default true. */
  readonly usualPlaces?: boolean;
}

const usualPlaces = ['/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin', '/opt/homebrew/opt/postgresql@*/bin', '/usr/local/pgsql/bin'];
const neededPrograms = ['postgres', 'pg_ctl'];
const candidatesMaximum = 64;
const versionTimeoutMs = 10_000;

/** Finds every installation, in the order of the search; a directory without the needed programs is passed over. */
export async function findInstallations(search: InstallationSearch = {}): Promise<PostgresInstallation[]> {
  const directories = await candidateDirectories(search);
  const found = await Promise.all(directories.map(installationIn));
  return found.filter((installation) => installation !== undefined);
}

/**
 * The first installation of a major version.
 * @throws WalkbackError POSTGRES_NOT_FOUND, with the versions that are there
 */
export async function installationFor(major: number, search: InstallationSearch = {}): Promise<PostgresInstallation> {
  const installations = await findInstallations(search);
  const installation = installations.find((candidate) => candidate.major === major);
  if (installation !== undefined) return installation;
  const present = installations.map((candidate) => `${candidate.version} in ${candidate.binDirectory}`);
  throw new WalkbackError(
    'POSTGRES_NOT_FOUND',
    `PostgreSQL ${major} is not on this host; found ${present.length === 0 ? 'none' : present.join(', ')}.`,
    { facts: { major, present } },
  );
}

async function candidateDirectories(search: InstallationSearch): Promise<string[]> {
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  const usual = search.usualPlaces === false ? [] : [...usualPlaces, ...path];
  const patterns = [...(search.explicit ?? []), ...(search.searchDirectories ?? []), ...usual];
  const directories = new Set<string>();
  for (const pattern of patterns) {
    for (const directory of await matchingDirectories(pattern)) {
      if (directories.size < candidatesMaximum && (await hasPrograms(directory))) directories.add(await realpath(directory));
    }
  }
  return [...directories];
}

async function matchingDirectories(pattern: string): Promise<string[]> {
  if (!pattern.includes('*')) return [pattern];
  const matches: string[] = [];
  for await (const match of glob(pattern)) matches.push(match);
  // Sorted backwards, so that a newer major stands before an older one.
  return matches.sort().reverse();
}

async function hasPrograms(directory: string): Promise<boolean> {
  try {
    // /usr/bin/pg_ctl of a distribution's wrapper does not count without the server beside it.
    await Promise.all(neededPrograms.map((program) => access(join(directory, program), constants.X_OK)));
    return true;
  } catch {
    // Not there or not ours to run: in both cases no installation.
    return false;
  }
}

async function installationIn(binDirectory: string): Promise<PostgresInstallation | undefined> {
  const version = await versionOf(join(binDirectory, 'postgres'));
  return version === undefined ? undefined : { major: Number.parseInt(version, 10), version, binDirectory };
}

/** As the program prints it. One that does not run here (another architecture, a missing library) is no use to anybody, and has none. */
const versionOf = askedOnce(async (program) => {
  const run = await execa(program, ['--version'], { reject: false, timeout: versionTimeoutMs, extendEnv: false, env: {} });
  const [, version] = /\(PostgreSQL\) (\d+[.\w]*)/.exec(run.stdout ?? '') ?? [];
  return version;
}, candidatesMaximum);
