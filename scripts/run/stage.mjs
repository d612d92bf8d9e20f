// The user that runs the command must be able to read what it runs. Where a clone lies under a closed directory (root's home, a CI
// workspace of mode 0700) the tree is copied to a place that is open, and so is every file that the environment names.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Variables that name a program or a directory which the tests use. */
const pathVariables = ['WALG_BIN', 'VERSITYGW_BIN', 'WALKBACK_FIXTURES', 'WALKBACK_TEMPORAL_BIN'];
/** Of no use to the command, and large. */
const notCopied = ['.git'];

/**
 * Where the command runs and what its environment has to name instead: `{ root, paths }`. Both are the given ones when the user can
 * read them; else copies under `stageDirectory`.
 */
export async function provideReadable({ root, environment, user, stageDirectory }) {
  if (user === null) return { root, paths: {} };
  const named = pathVariables.filter((name) => environment[name] && existsSync(environment[name]));
  const unreadable = named.filter((name) => !canRead(user, environment[name], []));
  const rootIsReadable = canRead(user, root, notCopied);
  if (rootIsReadable && unreadable.length === 0) return { root, paths: {} };
  mkdirSync(stageDirectory);
  const paths = Object.fromEntries(unreadable.map((name) => [name, copyInto(join(stageDirectory, name), environment[name])]));
  const readableRoot = rootIsReadable ? root : await copyTree(root, join(stageDirectory, 'walkback'));
  openUp(stageDirectory);
  return { root: readableRoot, paths };
}

/** Asks the system by looking as that user: owners, groups, access lists and closed parents all count. */
function canRead(user, path, skipped) {
  const prune = skipped.flatMap((name) => ['-path', join(path, name), '-prune', '-o']);
  const find = spawnSync('find', [path, ...prune, '!', '-type', 'l', '!', '-readable', '-print', '-quit'], {
    uid: user.uid,
    gid: user.gid,
    cwd: '/',
    encoding: 'utf8',
  });
  return find.status === 0 && find.stdout === '';
}

async function copyTree(root, destination) {
  mkdirSync(destination);
  for (const name of await readdir(root)) if (!notCopied.includes(name)) copy(join(root, name), join(destination, name));
  return destination;
}

function copyInto(directory, path) {
  mkdirSync(directory);
  const destination = join(directory, basename(path));
  copy(path, destination);
  return destination;
}

/**
 * Hard links take a tenth of the time of a copy and no room; a file that only its owner can read is copied all the same, because the
 * mode of a link is the mode of the original.
 */
function copy(source, destination) {
  if (spawnSync('cp', ['-al', source, destination], { stdio: 'ignore' }).status === 0) return ownClosedFiles(destination);
  // Another file system, or one without links.
  rmSync(destination, { recursive: true, force: true });
  execute('cp', ['-a', source, destination]);
}

function ownClosedFiles(path) {
  const closed = ['-type', 'f', '(', '!', '-perm', '-o=r', '-o', '-perm', '-u=x', '!', '-perm', '-o=x', ')'];
  execute('find', [path, ...closed, '-exec', 'cp', '-p', '{}', '{}.own', ';', '-exec', 'mv', '{}.own', '{}', ';']);
}

function openUp(path) {
  execute('chmod', ['-R', 'a+rX', path]);
}

function execute(file, args) {
  const { status, stderr, error } = spawnSync(file, args, { encoding: 'utf8' });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').at(-1);
  throw new Error(
    `the tree cannot be copied to where the user can read it (${reason}); free space, or clone to a directory that others can read.`,
  );
}
