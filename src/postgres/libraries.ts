/** The libraries that PostgreSQL loads: of functions in C, and those that settings name. */
import { access } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

/** $libdir lies beside the programs: Debian and PGDG have `../lib`, a plain build `../lib/postgresql`. */
const libraryDirectories = ['../lib/postgresql', '../lib'];
/** It comes with every server: where it is not found, $libdir lies elsewhere. */
const everyServersLibrary = 'plpgsql';

/** A list as shared_preload_libraries holds it. */
export function librariesIn(list: string): string[] {
  return list
    .split(',')
    .map((name) => name.trim().replaceAll('"', ''))
    .filter((name) => name !== '');
}

/** Is the library, `hstore` or `$libdir/hstore`, beside the programs? What lies outside $libdir counts as absent. */
export async function libraryIsInstalled(name: string, binDirectory: string): Promise<boolean> {
  const file = fileOf(name);
  return !file.includes('/') && (await liesInLibraryDirectory(file, binDirectory));
}

/**
 * Which of the libraries of functions in C are not here.
 * @param libraries as pg_proc.probin has them: below $libdir, or by an absolute path
 * @returns undefined when it cannot be told where the server's libraries are
 */
export async function absentLibraries(libraries: readonly string[], binDirectory: string): Promise<readonly string[] | undefined> {
  if (!(await liesInLibraryDirectory(fileOf(everyServersLibrary), binDirectory))) return undefined;
  const absent: string[] = [];
  for (const library of libraries) {
    const file = fileOf(library);
    const isThere = isAbsolute(file) ? await isReadable(file) : await liesInLibraryDirectory(file, binDirectory);
    if (!isThere) absent.push(library);
  }
  return absent;
}

function fileOf(name: string): string {
  return `${name.replace(/^\$libdir\//, '').replace(/\.so$/, '')}.so`;
}

async function liesInLibraryDirectory(file: string, binDirectory: string): Promise<boolean> {
  for (const directory of libraryDirectories) if (await isReadable(join(binDirectory, directory, file))) return true;
  return false;
}

async function isReadable(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    // Being absent, or closed to us, is the answer.
    return false;
  }
}
