// The environment that the command gets.

import { delimiter, join } from 'node:path';

/** libpq would take a server, a password or options from these, and a test would talk to somebody's real database. */
const dangerous = /^PG[A-Z]/;
/** Directories of the user that started the run, of no use to the one that carries it out. */
const aboutTheCaller = /^(XDG_.*|SUDO_.*|MAIL|OLDPWD)$/;

/**
 * The caller's environment less what must not reach the command, with the package's own programs first on PATH.
 * `paths` are variables that name another path than the caller's: files had to be copied to where the user can read them.
 */
export function commandEnvironment({ environment, root, privateDirectory, user, paths }) {
  const kept = Object.entries(environment).filter(([name]) => !dangerous.test(name) && !(user !== null && aboutTheCaller.test(name)));
  const own = {
    PATH: [join(root, 'node_modules', '.bin'), environment.PATH].filter(Boolean).join(delimiter),
    TMPDIR: privateDirectory.temporary,
    WALKBACK_RUN: privateDirectory.path,
    // Every agent and worker that a run starts would strip the types of the same sources again.
    NODE_COMPILE_CACHE: join(privateDirectory.path, 'compiled'),
  };
  const identity = user === null ? {} : { HOME: privateDirectory.home, USER: user.name, LOGNAME: user.name };
  return { ...Object.fromEntries(kept), ...own, ...identity, ...paths };
}
