// A directory for one run, owned by the user that runs the command, in which HOME and TMPDIR lie; removed at the end.

import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Unix socket paths end at about 100 bytes, and PostgreSQL's lie some directories below this one. */
const parentLengthMax = 20;

/** Makes the directory with `home` and `tmp` in it. */
export async function makePrivateDirectory(user) {
  const parent = tmpdir().length <= parentLengthMax ? tmpdir() : '/tmp';
  const path = await mkdtemp(join(parent, 'wb-'));
  const home = join(path, 'home');
  const temporary = join(path, 'tmp');
  for (const directory of [home, temporary]) await mkdir(directory, { mode: 0o700 });
  if (user !== null) for (const directory of [path, home, temporary]) await chown(directory, user.uid, user.gid);
  return { path, home, temporary, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}
