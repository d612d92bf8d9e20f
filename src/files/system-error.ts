/** What the operating system answered. */

/** The code of a system error, such as ENOENT; undefined for any other error. */
export function systemCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Is it the system's answer that a file is not there? */
export function isAbsent(error: unknown): boolean {
  return systemCodeOf(error) === 'ENOENT';
}
