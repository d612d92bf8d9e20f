/** Where the peers' programs lie: named in the environment, on PATH, or beside the clone. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Tools that lie beside a clone are used by CI too. */
const besideTheClone = fileURLToPath(new URL('../../../shared/tools/', import.meta.url));

/** The program, or undefined when it is not there. @throws Error when the variable names no program */
export function findProgram(name: string, variable?: string): string | undefined {
  const given = variable === undefined ? undefined : process.env[variable];
  if (given !== undefined && given !== '') {
    if (isExecutable(given)) return given;
    throw new Error(`${variable} names ${given}, which is no program.`);
  }
  const directories = [...(process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== ''), besideTheClone];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
