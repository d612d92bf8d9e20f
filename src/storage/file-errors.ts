/** The one place where errors of the file system become errors of ours. */
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { ErrorCode } from '../domain/errors.ts';
import { systemCodeOf } from '../files/system-error.ts';

const catalogueCodes: Readonly<Record<string, ErrorCode>> = {
  EACCES: 'STORAGE_ACCESS_DENIED',
  EPERM: 'STORAGE_ACCESS_DENIED',
  EROFS: 'STORAGE_ACCESS_DENIED',
  EISDIR: 'INVALID_REQUEST',
  ENAMETOOLONG: 'INVALID_REQUEST',
  ENOTDIR: 'INVALID_REQUEST',
  EEXIST: 'INVALID_REQUEST',
};

const hints: Readonly<Record<string, string>> = {
  EACCES: 'Check the owner and the mode of the storage directory: the agent writes there as its own user.',
  EROFS: 'The file system is mounted read-only.',
  EISDIR: 'In a directory, one key cannot be both an object and the beginning of other keys.',
  ENOTDIR: 'In a directory, one key cannot be both an object and the beginning of other keys.',
  ENOSPC: 'The file system is full: add space or remove old backups.',
};

/** Says in our terms what `node:fs` threw. */
export function fromFileError(error: unknown, operation: string, url: string): WalkbackError {
  if (error instanceof WalkbackError) return error;
  const systemCode = systemCodeOf(error) ?? 'unknown';
  const hint = hints[systemCode];
  return new WalkbackError(catalogueCodes[systemCode] ?? 'STORAGE_UNREACHABLE', `${operation} of ${url} failed: ${messageOf(error)}`, {
    facts: { operation, url, systemCode },
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Does the error say that there is no such file? ENOTDIR: something on the way to it is a file. */
export function isAbsence(error: unknown): boolean {
  const code = systemCodeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
