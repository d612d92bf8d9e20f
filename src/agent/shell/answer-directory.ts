/**
 * Answers to PostgreSQL's commands as files in a directory, so that the shell of archive_command and restore_command finds them by itself,
 * without starting another process (commands.ts). The shell asks for NAME by making `NAME.wanted`, and waits until the answer is there or
 * that file is gone.
 */
import { type FSWatcher, watch } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../domain/errors.ts';

/** Behind the name of a file that the shell asks for. */
export const wantedSuffix = '.wanted';

/** What watching works with. */
export interface DirectoryWatchOptions {
  /** Called with the name of what appeared or vanished in the directory; undefined: any of it. Must not throw. */
  readonly onChange: (name: string | undefined) => void;
  /** Without notice everything still works, by way of the socket. */
  readonly onUnwatched: (reason: string) => void;
}

/** Watches a directory. @returns undefined when the system cannot */
export function watchDirectory(directory: string, { onChange, onUnwatched }: DirectoryWatchOptions): FSWatcher | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, (event, name) => {
      if (event === 'rename') onChange(name ?? undefined);
    });
    watcher.on('error', (error) => onUnwatched(messageOf(error)));
    return watcher;
  } catch (error) {
    onUnwatched(messageOf(error));
    return undefined;
  }
}

/** The name that the shell asks for by the file; undefined when the file is no question. */
export function nameWanted(fileName: string | undefined): string | undefined {
  return fileName?.endsWith(wantedSuffix) === true ? fileName.slice(0, -wantedSuffix.length) : undefined;
}

/** Tells the shell that there is nothing more to wait for: it takes the answer that lies there, or asks over the socket. */
export async function endWait(directory: string, name: string): Promise<void> {
  await rm(join(directory, `${name}${wantedSuffix}`), { force: true });
}

/** Removes everything in a directory, and leaves the directory. */
export async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
}
