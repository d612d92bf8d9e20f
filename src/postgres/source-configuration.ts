/** The configuration that came along from the source: kept as evidence. */
import { copyFile, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { privateDirectoryMode, syncDirectory } from '../files/durable-file.ts';
import { restoreDirectoryOf } from './restore-marker.ts';

/** Files of the configuration inside a data directory that ours replace. Debian keeps the first, third and fourth in /etc instead. */
const configurationFiles = ['postgresql.conf', 'postgresql.auto.conf', 'pg_hba.conf', 'pg_ident.conf'] as const;
const evidenceName = 'source-configuration';

/** Copies the source's files aside, once: a second call would copy ours. Missing ones are passed over. */
export async function keepSourceConfiguration(dataDirectory: string): Promise<void> {
  const evidence = sourceConfigurationOf(dataDirectory);
  if (await exists(evidence)) return;
  const unfinished = `${evidence}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true, mode: privateDirectoryMode });
  for (const name of configurationFiles) await copyIfPresent(join(dataDirectory, name), join(unfinished, name));
  await syncDirectory(unfinished);
  await rename(unfinished, evidence);
  await syncDirectory(restoreDirectoryOf(dataDirectory));
}

/** Where the source's own files are kept. */
export function sourceConfigurationOf(dataDirectory: string): string {
  return join(restoreDirectoryOf(dataDirectory), evidenceName);
}

async function copyIfPresent(from: string, to: string): Promise<void> {
  try {
    await copyFile(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const file = await open(to, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
