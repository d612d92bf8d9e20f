/** Where the programs lie that the demo and the tests start: given in the environment, found by scripts/setup.mjs, or installed. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readFile, readdir, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { WalkbackError } from '../../domain/errors.ts';

/** Variables as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The programs of one PostgreSQL server. */
export interface PostgresInstallation {
  readonly major: number;
  /** Holds at least initdb, pg_ctl and postgres. */
  readonly binDirectory: string;
}

const packageRoot = fileURLToPath(new URL('../../../', import.meta.url));
const supportedMajors: ReadonlySet<number> = new Set([14, 15, 16, 17, 18]);
/** Where Debian and its kin keep one server a major. */
const systemPostgresDirectory = '/usr/lib/postgresql';
const versionTimeoutMs = 10_000;

const toolsSchema = z.object({ temporal: z.string().nullable(), postgres: z.array(z.string()) });
type Tools = z.infer<typeof toolsSchema>;

/**
 * The Temporal CLI: `WALKBACK_TEMPORAL_BIN`, what scripts/setup.mjs found, or `temporal` on PATH. Undefined when there is none, and the
 * Temporal SDK's own download is left.
 *
 * @throws WalkbackError INVALID_CONFIGURATION when `WALKBACK_TEMPORAL_BIN` names no program.
 */
export async function findTemporalExecutable(environment: Environment): Promise<string | undefined> {
  const given = environment['WALKBACK_TEMPORAL_BIN'];
  if (given) {
    if (await isExecutable(given)) return given;
    throw new WalkbackError('INVALID_CONFIGURATION', `WALKBACK_TEMPORAL_BIN names ${given}, which is no program.`);
  }
  const { temporal } = await readTools();
  if (temporal !== null && (await isExecutable(temporal))) return temporal;
  return findOnPath('temporal', environment);
}

/**
 * Every PostgreSQL server of a supported major, one a major, the preferred one first: `WALKBACK_PG_BIN`, what scripts/setup.mjs found,
 * then installed ones.
 *
 * @throws WalkbackError POSTGRES_NOT_FOUND when there is none.
 */
export async function findPostgresInstallations(environment: Environment): Promise<readonly PostgresInstallation[]> {
  const given = environment['WALKBACK_PG_BIN'];
  const { postgres } = await readTools();
  const candidates = [...(given ? [given] : []), ...postgres, ...(await installedBinDirectories(environment))];
  const found = await Promise.all(candidates.map(installationIn));
  const byMajor = new Map<number, PostgresInstallation>();
  for (const installation of found) {
    if (installation !== undefined && !byMajor.has(installation.major)) byMajor.set(installation.major, installation);
  }
  if (byMajor.size > 0) return [...byMajor.values()];
  throw new WalkbackError('POSTGRES_NOT_FOUND', 'No PostgreSQL server of major 14 to 18 is on this machine.', {
    hint: 'Run `node scripts/setup.mjs demo`, install PostgreSQL, or name its bin directory in WALKBACK_PG_BIN.',
    facts: { looked: candidates },
  });
}

/** What scripts/setup.mjs wrote, with absolute paths; nothing where it has not run, as in the published package. */
async function readTools(): Promise<Tools> {
  const path = join(packageRoot, '.tools', 'tools.json');
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return { temporal: null, postgres: [] };
  const tools = toolsSchema.parse(JSON.parse(text));
  return { temporal: tools.temporal === null ? null : fromRoot(tools.temporal), postgres: tools.postgres.map(fromRoot) };
}

/** Set-up writes paths inside the package as relative ones, so that a copy of the tree finds its own. */
function fromRoot(path: string): string {
  return isAbsolute(path) ? path : join(packageRoot, path);
}

async function installedBinDirectories(environment: Environment): Promise<readonly string[]> {
  const names = await readdir(systemPostgresDirectory).catch(() => []);
  const newestFirst = names.toSorted((left, right) => Number(right) - Number(left));
  const onPath = await findOnPath('postgres', environment);
  return [...newestFirst.map((name) => join(systemPostgresDirectory, name, 'bin')), ...(onPath === undefined ? [] : [dirname(onPath)])];
}

async function installationIn(binDirectory: string): Promise<PostgresInstallation | undefined> {
  const programs = ['initdb', 'pg_ctl', 'postgres'].map((name) => join(binDirectory, name));
  if ((await Promise.all(programs.map(isExecutable))).includes(false)) return undefined;
  const major = await majorOf(join(binDirectory, 'postgres'));
  return major !== undefined && supportedMajors.has(major) ? { major, binDirectory } : undefined;
}

async function majorOf(postgres: string): Promise<number | undefined> {
  // A server that cannot even tell its version, for a missing library, is as good as none.
  const version = await promisify(execFile)(postgres, ['--version'], { timeout: versionTimeoutMs }).catch(() => ({ stdout: '' }));
  const major = /\(PostgreSQL\) (\d+)/.exec(version.stdout)?.[1];
  return major === undefined ? undefined : Number(major);
}

async function findOnPath(name: string, environment: Environment): Promise<string | undefined> {
  for (const directory of (environment['PATH'] ?? '').split(delimiter).filter((part) => part !== '')) {
    const path = join(directory, name);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  const file = await stat(path).catch(() => undefined);
  if (file === undefined || !file.isFile()) return false;
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
