/** Directories for one test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory that is removed with all it holds when it goes out of scope (`await using`). */
export interface TemporaryDirectory extends AsyncDisposable {
  readonly path: string;
  /** A path inside the directory. */
  join(...parts: readonly string[]): string;
  remove(): Promise<void>;
}

/** Makes a directory of mode 0700 with a short path, because Unix sockets below it must stay under 100 bytes. */
export async function temporaryDirectory(name = 't'): Promise<TemporaryDirectory> {
  const path = await mkdtemp(join(tmpdir(), `${name}-`));
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3 });
  return { path, join: (...parts) => join(path, ...parts), remove, [Symbol.asyncDispose]: remove };
}
