// What a command left running: processes of its group, and those that carry its mark or work in its directory (a postmaster leaves the
// group of whoever started it).

import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

const graceMs = 3000;
const pollMs = 50;

/** Ends what is left, gently and then by force, and returns one line for each process that was there. */
export async function endLeftovers(run) {
  const left = leftovers(run);
  for (const { pid, program } of left) signal(pid, gentleSignal(program));
  const deadlineMs = Date.now() + graceMs;
  while (Date.now() < deadlineMs && leftovers(run).length > 0) await wait(pollMs);
  for (const { pid } of leftovers(run)) signal(pid, 'SIGKILL');
  return left.map(({ pid, commandLine }) => `process ${pid}: ${commandLine}`);
}

/** SIGQUIT is PostgreSQL's immediate shutdown; SIGTERM would wait for its clients. */
function gentleSignal(program) {
  return program === 'postgres' ? 'SIGQUIT' : 'SIGTERM';
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended by itself in the meantime.
    if (error.code !== 'ESRCH') throw error;
  }
}

/** The processes of a run, given as `{ groupId, directory }`. Empty where there is no /proc. */
function leftovers({ groupId, directory }) {
  const pids = namesIn('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid);
  return pids.map(describe).filter((found) => found !== null && belongs(found, groupId, directory));
}

function belongs({ pid, processGroupId, state }, groupId, directory) {
  if (state === 'Z') return false;
  return (
    processGroupId === groupId || worksIn(pid, directory) || read(`/proc/${pid}/environ`).split('\0').includes(`WALKBACK_RUN=${directory}`)
  );
}

function worksIn(pid, directory) {
  try {
    return `${readlinkSync(`/proc/${pid}/cwd`)}/`.startsWith(`${directory}/`);
  } catch {
    // The process has ended, or belongs to somebody else and is none of ours.
    return false;
  }
}

function describe(pid) {
  // The program's name stands in parentheses and may hold any character, so the fields are counted from the last one.
  const [, program, fields] = /\((.*)\) (.*)$/s.exec(read(`/proc/${pid}/stat`)) ?? [];
  if (fields === undefined) return null;
  const [state, , processGroupId] = fields.split(' ');
  const commandLine = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
  return { pid, program, state, processGroupId: Number(processGroupId), commandLine: commandLine || program };
}

function namesIn(directory) {
  try {
    return readdirSync(directory);
  } catch {
    // Not a Linux: there is nothing to look through.
    return [];
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has ended, or belongs to somebody else and is none of ours.
    return '';
  }
}
