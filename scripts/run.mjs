// Runs a command of this package as its users would: `node scripts/run.mjs COMMAND [ARGUMENT…]`, with Node 24 first on PATH, a private
// TMPDIR, and never as root, because PostgreSQL refuses root. Ends with the command's exit code and leaves no process and no directory.

import './check-node.mjs';
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { commandEnvironment } from './run/environment.mjs';
import { endLeftovers } from './run/leftovers.mjs';
import { makePrivateDirectory } from './run/private-directory.mjs';
import { provideSmallDisks } from './run/small-disk.mjs';
import { provideReadable } from './run/stage.mjs';
import { chooseUser } from './run/user.mjs';
import { packageRoot } from './setup/places.mjs';

const forwardedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** What a shell reports for a command that is not there. */
const commandNotFound = 127;

async function main(command) {
  if (command.length === 0) throw new Error('a command is missing; give it after `node scripts/run.mjs`.');
  const user = chooseUser(process.env);
  const privateDirectory = await makePrivateDirectory(user);
  const stageDirectory = `${privateDirectory.path}-stage`;
  const smallDisks = provideSmallDisks({ environment: process.env, user, privateDirectory });
  try {
    const { root, paths } = await provideReadable({ root: packageRoot, environment: process.env, user, stageDirectory });
    const env = commandEnvironment({
      environment: process.env,
      root,
      privateDirectory,
      user,
      paths: { ...paths, ...smallDisks.variables },
    });
    return await run(command, { cwd: root, env, user, directory: privateDirectory.path });
  } finally {
    smallDisks.remove();
    await privateDirectory.remove();
    await rm(stageDirectory, { recursive: true, force: true });
  }
}

/** The command leads a process group of its own, so that a signal from the terminal reaches it once, by way of us. */
async function run([file, ...args], { cwd, env, user, directory }) {
  const identity = user === null ? {} : { uid: user.uid, gid: user.gid };
  const child = spawn(file, args, { cwd, env, ...identity, stdio: 'inherit', detached: true });
  const ended = endOf(child, file);
  const forward = (name) => child.kill(name);
  for (const name of forwardedSignals) process.on(name, forward);
  const exitCode = await ended;
  const left = child.pid === undefined ? [] : await endLeftovers({ groupId: child.pid, directory });
  for (const line of left) process.stderr.write(`walkback: ended what ${file} left running: ${line}\n`);
  return exitCode;
}

/** The exit code as a shell would give it: 128 and the signal's number when a signal ended the command. */
function endOf(child, file) {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
    child.on('error', (error) => {
      process.stderr.write(`walkback: ${file} cannot be started: ${error.message}\n`);
      resolve(commandNotFound);
    });
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`walkback: ${error.message}\n`);
  process.exitCode = 1;
}
