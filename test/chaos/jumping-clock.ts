/**
 * Loaded into a process before its program (`node --import`): its clock, and nobody else's, is off by as many milliseconds as a file says, and jumps
 * when the file changes. Timers and performance.now() go on, as they do on a host whose clock is set.
 */
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { clockFileVariable } from './clock-file.ts';

/** How late a jump may come. */
const lookIntervalMs = 20;

const RealDate = globalThis.Date;
const file = process.env[clockFileVariable];
let shiftMs = 0;

if (file !== undefined) {
  // Threads have no arguments, but the variables of their process.
  const path = isMainThread ? `${file}.${process.argv[2] ?? ''}` : file;
  process.env[clockFileVariable] = path;
  look(path);
  setInterval(look, lookIntervalMs, path).unref();
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, given: unknown[], asked) => Reflect.construct(target, given.length === 0 ? [now()] : given, asked),
    apply: () => new RealDate(now()).toString(),
    get: (target, property, receiver) => (property === 'now' ? now : Reflect.get(target, property, receiver)),
  });
}

function now(): number {
  return RealDate.now() + shiftMs;
}

function look(path: string): void {
  try {
    shiftMs = Number(readFileSync(path, 'utf8'));
  } catch {
    // Nobody has set the clock yet.
    shiftMs = 0;
  }
}
