// Only one set-up works in a tree at a time: `npm run demo` beside `npm test` waits for the other's downloads and then finds them done.

import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { SetupError, say } from './say.mjs';

const pollMs = 200;
const waitMaxMs = 10 * 60 * 1000;
/** A holder writes its process id right after making the directory; without one for this long it died in between. */
const namelessMaxMs = 5000;

/** Runs the work while holding the directory `path` as a lock, and takes over a lock whose holder has died. */
export async function withLock(path, work) {
  await acquire(path);
  const release = () => rm(path, { recursive: true, force: true });
  try {
    return await work();
  } finally {
    await release();
  }
}

async function acquire(path) {
  const deadlineMs = Date.now() + waitMaxMs;
  let told = false;
  while (!(await tryAcquire(path))) {
    const holder = await holderOf(path);
    if (holder === 'dead') {
      await rm(path, { recursive: true, force: true });
      continue;
    }
    if (Date.now() > deadlineMs)
      throw new SetupError(`another set-up (process ${holder}) holds ${path}`, 'end it, or remove that directory.');
    if (!told) say(`waiting for another set-up (process ${holder})`);
    told = true;
    await wait(pollMs);
  }
}

async function tryAcquire(path) {
  try {
    await mkdir(path);
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new SetupError(
      `${path} cannot be made (${error.code})`,
      'run as the user that owns this directory, or give that user write access.',
    );
  }
  await writeFile(join(path, 'pid'), String(process.pid));
  return true;
}

/** The process id of the holder, "unknown" while it is still writing it, or "dead". */
async function holderOf(path) {
  const pid = Number(await readFile(join(path, 'pid'), 'utf8').catch(() => ''));
  if (pid > 0) return isAlive(pid) ? pid : 'dead';
  const made = await stat(path).catch(() => null);
  return made !== null && Date.now() - made.mtimeMs > namelessMaxMs ? 'dead' : 'unknown';
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM means that the process exists and belongs to somebody else.
    return error.code === 'EPERM';
  }
}
