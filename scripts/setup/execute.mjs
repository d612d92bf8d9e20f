// Running other programs from set-up.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const executeFile = promisify(execFile);
const outputBytesMax = 16 * 1024 * 1024;
/** Longer than any download here takes on a slow line, so that a dead line is given up at some time. */
const timeoutMs = 10 * 60 * 1000;

/** Runs a program to its end and returns what it wrote to stdout; rejects when it fails. */
export async function execute(file, args, options = {}) {
  const { stdout } = await executeFile(file, args, { maxBuffer: outputBytesMax, timeout: timeoutMs, ...options });
  return stdout;
}

/** The most telling line of a failed program's output, for a message of one line. */
export function reasonOf(error) {
  if (error.code === 'ENOENT') return `${error.path ?? 'the program'} is not installed`;
  if (error.killed) return `no end after ${timeoutMs / 60_000} minutes`;
  const lines = `${error.stderr ?? ''}\n${error.stdout ?? ''}`.split('\n').map((line) => line.trim());
  const telling = lines.find((line) => /error|refused|not found|cannot|failed/i.test(line) && !/^npm (error|ERR!) code/.test(line));
  return telling ?? lines.find((line) => line !== '') ?? error.message;
}
