// Small file systems of their own, for tests that fill a disk: tmpfs, which only root may mount.

import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Room for a restore of the tests' source, and little more. */
const sizeMebibytes = 320;
/** Who fills one; they may do so at once. */
const names = ['chaos', 'faults'];

/**
 * `WALKBACK_SMALL_DISK=mount` asks for them; every other value is a directory that the caller made, with the names in it. Returns
 * `{ variables, remove }`: what the environment has to hold, with `WALKBACK_NO_SMALL_DISK` for why there is none.
 */
export function provideSmallDisks({ environment, user, privateDirectory }) {
  if (environment.WALKBACK_SMALL_DISK !== 'mount') return { variables: {}, remove: () => undefined };
  const parent = join(privateDirectory.path, 'small');
  const paths = names.map((name) => join(parent, name));
  // Lazily: what still has a file open there has been ended, and may take a moment.
  const remove = () => paths.forEach((path) => execute('umount', ['-l', path]));
  const reason = user === null ? 'only root may mount one' : paths.map((path) => mount(path, user)).find((why) => why !== null);
  if (reason === undefined) return { variables: { WALKBACK_SMALL_DISK: parent }, remove };
  return { variables: { WALKBACK_SMALL_DISK: undefined, WALKBACK_NO_SMALL_DISK: reason }, remove };
}

/** Why it could not be done, or null. */
function mount(path, { uid, gid }) {
  mkdirSync(path, { recursive: true });
  return execute('mount', ['-t', 'tmpfs', '-o', `size=${sizeMebibytes}m,mode=0700,uid=${uid},gid=${gid}`, 'tmpfs', path]);
}

function execute(file, args) {
  const { status, stderr, error } = spawnSync(file, args, { encoding: 'utf8' });
  return status === 0 ? null : (error?.message ?? stderr.trim().split('\n').at(-1));
}
