/**
 * The name of a unix socket, for one process at a time. A socket is listened on under another name first and gets its own by `link`, which fails
 * when the name is taken; so whoever has the name answers, and a socket that does not answer is one that a dead process left. Names are removed by
 * name alone, so that of two who find the same dead socket the second could remove the first one's: they take turns, by a socket in Linux's
 * abstract namespace (unix(7)), which the kernel frees when its process ends.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { link, lstat, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WalkbackError } from '../domain/errors.ts';

/** A turn takes milliseconds. Who waits longer goes on without one: the name in the abstract namespace is anybody's to take. */
const turnTimeoutMs = 5_000;
const turnPauseMs = 10;

/** A name to listen under before the claim; no longer than most socket names, whose length the system limits. */
export function provisionalNameOf(socketPath: string): string {
  return join(dirname(socketPath), `.${randomBytes(3).toString('hex')}`);
}

/**
 * Gives a socket that is listened on its name. Of several that claim it at the same time one gets it.
 * @throws WalkbackError ALREADY_RUNNING when somebody answers under the name, INVALID_CONFIGURATION when the name is something else's than a socket's
 */
export async function claimSocket(provisional: string, socketPath: string): Promise<void> {
  const endTurn = await takeTurn(socketPath);
  try {
    if (await gaveName(provisional, socketPath)) return await rm(provisional);
    if ((await inodeOfSocket(socketPath)) !== undefined && (await somebodyAnswers(socketPath))) throw alreadyRunning(socketPath);
    await rm(socketPath, { force: true });
    if (!(await gaveName(provisional, socketPath))) throw alreadyRunning(socketPath);
    await rm(provisional);
  } finally {
    await endTurn();
  }
}

/** Removes the name when it is still that of the socket which was listened on under it. */
export async function releaseSocket(socketPath: string, inode: bigint | undefined): Promise<void> {
  if (inode !== undefined && (await inodeOfSocket(socketPath)) === inode) await rm(socketPath, { force: true });
}

/** Undefined when there is nothing. @throws WalkbackError INVALID_CONFIGURATION when there is something else than a socket */
export async function inodeOfSocket(path: string): Promise<bigint | undefined> {
  try {
    const stats = await lstat(path, { bigint: true });
    if (stats.isSocket()) return stats.ino;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  throw new WalkbackError('INVALID_CONFIGURATION', `${path} exists and is not a socket.`, {
    hint: 'Name another path as host.socket, or remove the file.',
  });
}

/** @returns false when the name is taken */
async function gaveName(provisional: string, socketPath: string): Promise<boolean> {
  try {
    await link(provisional, socketPath);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Other systems than Linux have no such namespace; there, who starts two agents in the same instant has two. @returns what ends the turn */
async function takeTurn(socketPath: string): Promise<() => Promise<void>> {
  const name = `\0walkback-${createHash('sha256').update(resolve(socketPath)).digest('hex').slice(0, 32)}`;
  const deadline = performance.now() + turnTimeoutMs;
  while (process.platform === 'linux' && performance.now() < deadline) {
    const turn = createServer().listen(name);
    try {
      await once(turn, 'listening');
      return async () => {
        turn.close();
        await once(turn, 'close');
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await delay(turnPauseMs);
    }
  }
  return async () => undefined;
}

async function somebodyAnswers(socketPath: string): Promise<boolean> {
  const socket = connect(socketPath);
  try {
    await once(socket, 'connect');
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw error;
  } finally {
    socket.destroy();
  }
}

function alreadyRunning(socketPath: string): WalkbackError {
  return new WalkbackError('ALREADY_RUNNING', `An agent answers on ${socketPath} already.`, {
    hint: 'Stop it first, or give this one a socket and a state directory of its own.',
  });
}
