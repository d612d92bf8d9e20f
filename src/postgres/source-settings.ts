/** Reads the settings of the source from what is kept of its configuration, over the files that it includes. */
import { readdir, readFile } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { parseDirectives, type Settings } from './configuration-file.ts';
import { sourceConfigurationOf } from './source-configuration.ts';

/** What is known of the source's settings. */
export interface SourceSettings {
  /** The last value of each name, as PostgreSQL reads them; postgresql.auto.conf over postgresql.conf. Names in lower case. */
  readonly settings: Settings;
  /** `include '/etc/…'`: outside of the data directory, or not there. Never read: on this host such a path may be another cluster's. */
  readonly includes: readonly string[];
  /** False: postgresql.conf was not in the data directory, as on Debian, or in a backup of WAL-E. */
  readonly hasOwnFile: boolean;
}

/** Files that may include each other. */
const depthMaximum = 10;
const filesMaximum = 200;

/** Reads them; a file that cannot be read counts as absent. */
export async function readSourceSettings(dataDirectory: string): Promise<SourceSettings> {
  const evidence = sourceConfigurationOf(dataDirectory);
  const reader = new SettingsReader(dataDirectory);
  const own = await textOf(join(evidence, 'postgresql.conf'));
  await reader.read(own ?? '', dataDirectory, 1);
  await reader.read((await textOf(join(evidence, 'postgresql.auto.conf'))) ?? '', dataDirectory, 1);
  return { settings: reader.settings, includes: reader.includes, hasOwnFile: own !== undefined };
}

class SettingsReader {
  readonly settings = new Map<string, string>();
  readonly includes: string[] = [];
  readonly #root: string;
  #files = 0;

  constructor(root: string) {
    this.#root = root;
  }

  async read(text: string, directory: string, depth: number): Promise<void> {
    for (const { name, value, isInclude } of parseDirectives(text)) {
      if (!isInclude) this.settings.set(name, value);
      else if (!(await this.#follow(name, resolve(directory, value), depth))) this.includes.push(`${name} '${value}'`);
    }
  }

  async #follow(name: string, path: string, depth: number): Promise<boolean> {
    const within = relative(this.#root, path);
    if (within === '' || within.startsWith('..') || isAbsolute(within) || depth >= depthMaximum) return false;
    if (name !== 'include_dir') return await this.#readFile(path, depth);
    const names = await filesIn(path);
    for (const file of names ?? []) await this.#readFile(join(path, file), depth);
    return names !== undefined;
  }

  async #readFile(path: string, depth: number): Promise<boolean> {
    this.#files += 1;
    const text = this.#files > filesMaximum ? undefined : await textOf(path);
    if (text === undefined) return false;
    await this.read(text, join(path, '..'), depth + 1);
    return true;
  }
}

/** As PostgreSQL takes them from an include_dir: `*.conf` without a leading dot, in the order of their names (guc-file.l). */
async function filesIn(directory: string): Promise<string[] | undefined> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.conf') && !entry.name.startsWith('.'));
    return names.map(({ name }) => name).toSorted();
  } catch {
    // Not there, or not a directory: told as an include that was not followed.
    return undefined;
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // Not there, or not readable: what it said is not carried over, and that is told.
    return undefined;
  }
}
