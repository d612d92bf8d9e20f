// Who runs the command.

import { execFileSync } from 'node:child_process';

/** Debian's PostgreSQL packages make the first; every Linux has the second. */
const candidates = ['postgres', 'nobody'];

/**
 * The user to become, as `{ name, uid, gid }`, or null when the caller is not root and stays who it is.
 * `WALKBACK_RUN_AS` names another one than the first candidate that exists.
 */
export function chooseUser(environment) {
  if (process.getuid?.() !== 0) return null;
  const names = environment.WALKBACK_RUN_AS ? [environment.WALKBACK_RUN_AS] : candidates;
  const user = names.map(lookUp).find((found) => found !== null);
  if (user === undefined) throw new Error(`no user ${names.join(' or ')} exists to run as; create one, or name one in WALKBACK_RUN_AS.`);
  if (user.uid === 0) throw new Error(`WALKBACK_RUN_AS names ${user.name}, which is root; PostgreSQL refuses root, so name another user.`);
  return user;
}

function lookUp(name) {
  try {
    return { name, uid: numberFrom('-u', name), gid: numberFrom('-g', name) };
  } catch {
    // `id` fails for a name that does not exist, and the next candidate is tried.
    return null;
  }
}

function numberFrom(option, name) {
  return Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
}
