/** Memory as on a server that has been up for a while: full of files that were read. */
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../measure/measure.ts';
import { baseEnvironment } from './s3.ts';

/** What is left free, for the processes that are measured. */
const leftFreeBytes = 2 * 1024 ** 3;
/** A minute or two of reading; of a machine with more, no bench uses the rest. */
const usedMaximumBytes = 64 * 1024 ** 3;

/**
 * Fills the page cache with a file of holes, which stays until the directory is removed: it is the first to go when memory is needed. On a virtual machine,
 * memory that nobody has used yet costs its host 10 µs for each page. The contestants who come first would pay for that, and of those the most who keep all
 * processors busy: 6 to 7 s of CPU, where it was measured, for a fetch of 1 GiB in place of 3. Does nothing where the system does not tell what is free.
 */
export async function useMemoryOnce(directory: string): Promise<void> {
  const unusedBytes = await freeBytes();
  if (unusedBytes <= leftFreeBytes) return;
  const path = join(directory, 'page-cache');
  await rm(path, { force: true });
  await writeFile(path, '');
  await truncate(path, Math.min(unusedBytes - leftFreeBytes, usedMaximumBytes));
  await runCommand('dd', [`if=${path}`, 'of=/dev/null', 'bs=1M', 'status=none'], { env: baseEnvironment(), cwd: directory });
}

/** Used by nothing, not even by the page cache (proc(5), MemFree). */
async function freeBytes(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '');
  return Number(/^MemFree:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}
