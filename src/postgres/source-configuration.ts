/** The configuration that came along from the source: kept as evidence, and read for what the restored cluster takes over. */
import { copyFile, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { privateDirectoryMode, syncDirectory } from '../files/durable-file.ts';
import { parseConfiguration, type ParsedConfiguration } from './configuration-file.ts';
import { restoreDirectoryOf } from './restore-marker.ts';

/** Files of the configuration inside a data directory. Debian keeps the first, third and fourth in /etc instead. */
const configurationFiles = ['postgresql.conf', 'postgresql.auto.conf', 'pg_hba.conf', 'pg_ident.conf'] as const;
const evidenceName = 'source-configuration';

/** Copies the source's files aside, once: a second call would copy ours. Missing ones are passed over. */
export async function keepSourceConfiguration(dataDirectory: string): Promise<void> {
  const evidence = join(restoreDirectoryOf(dataDirectory), evidenceName);
  if (await exists(evidence)) return;
  const unfinished = `${evidence}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true, mode: privateDirectoryMode });
  for (const name of configurationFiles) await copyIfPresent(join(dataDirectory, name), join(unfinished, name));
  await syncDirectory(unfinished);
  await rename(unfinished, evidence);
  await syncDirectory(restoreDirectoryOf(dataDirectory));
}

/** The source's settings: postgresql.conf, and postgresql.auto.conf over it. */
export async function readSourceSettings(dataDirectory: string): Promise<ParsedConfiguration> {
  const evidence = join(restoreDirectoryOf(dataDirectory), evidenceName);
  const [own, automatic] = await Promise.all(
    ['postgresql.conf', 'postgresql.auto.conf'].map(async (name) => parseConfiguration(await textOrEmpty(join(evidence, name)))),
  );
  return {
    settings: new Map([...(own?.settings ?? []), ...(automatic?.settings ?? [])]),
    includes: [...(own?.includes ?? []), ...(automatic?.includes ?? [])],
  };
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

async function textOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
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
