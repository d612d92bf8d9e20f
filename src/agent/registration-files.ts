/** Registrations on disk, so that PostgreSQL is served on after the agent was killed and started again. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { AgentLog } from './agent-log.ts';
import { syncDirectory, unfinishedPrefix, writeFileDurably } from '../files/durable-file.ts';

/** One folder of registrations, one file each. */
export interface RegistrationFiles<T> {
  save(id: string, registration: T): Promise<void>;
  remove(id: string): Promise<void>;
  /** All that can be read. One that cannot is logged and left out: the others must be served. */
  load(): Promise<readonly T[]>;
}

/** Opens a folder of registrations; it is made when the first is saved. */
export function openRegistrationFiles<T>(
  directory: string,
  options: { readonly schema: z.ZodType<T>; readonly log: AgentLog },
): RegistrationFiles<T> {
  const pathOf = (id: string) => join(directory, `${fileNameOf(id)}.json`);
  return {
    async save(id, registration) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFileDurably(pathOf(id), `${JSON.stringify(registration)}\n`);
    },
    async remove(id) {
      await rm(pathOf(id), { force: true });
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await syncDirectory(directory);
    },
    async load() {
      const loaded = await Promise.all((await jsonFilesOf(directory)).map((path) => readOne(path, options)));
      return loaded.filter((registration) => registration !== undefined);
    },
  };
}

/** Checks a registration given by a caller. @throws WalkbackError INVALID_REQUEST */
export function parseRegistration<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new WalkbackError('INVALID_REQUEST', `The registration at the agent is malformed: ${z.prettifyError(parsed.error)}`);
}

/** Cluster names name their file; ids that are no file name, or too long for one, are hashed. */
function fileNameOf(id: string): string {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/.test(id) ? id : createHash('sha256').update(id).digest('hex');
}

async function jsonFilesOf(directory: string): Promise<readonly string[]> {
  try {
    const names = await readdir(directory);
    return names.filter((name) => name.endsWith('.json') && !name.startsWith(unfinishedPrefix)).map((name) => join(directory, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function readOne<T>(path: string, options: { readonly schema: z.ZodType<T>; readonly log: AgentLog }): Promise<T | undefined> {
  try {
    return options.schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    options.log.error({ path, reason: messageOf(error) }, 'A registration cannot be read and is not served; register it again.');
    return undefined;
  }
}
