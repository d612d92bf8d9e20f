/** Measures a command or a piece of work: wall-clock time, CPU seconds, peak memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Usage, type UsageScope, UsageWatch } from './usage-watch.ts';

/** One measured run. */
export interface Measurement extends Usage {
  readonly seconds: number;
}

/** How a command is run. */
export interface CommandOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Takes the time from what the command printed, where it knows better than the clock around it. */
  readonly secondsIn?: (output: string) => number;
}

const outputKeptCharacters = 4000;

/** Runs a command to its end. @throws Error with what it printed last when it fails */
export async function measureCommand(file: string, args: readonly string[], options: CommandOptions): Promise<Measurement> {
  const { child, ended } = start(file, args, options);
  const scope: UsageScope = { starters: () => [process.pid], memoryOf: () => (child.pid === undefined ? [] : [child.pid]) };
  const { measurement, result } = await measureWork(scope, () => ended);
  return { ...measurement, seconds: options.secondsIn?.(result) ?? measurement.seconds };
}

/** Runs a command that need not be measured. @returns what it printed @throws Error with what it printed last when it fails */
export async function runCommand(file: string, args: readonly string[], options: CommandOptions): Promise<string> {
  return await start(file, args, options).ended;
}

/** Measures a piece of work. */
export async function measureWork<T>(
  scope: UsageScope,
  work: () => Promise<T>,
): Promise<{ readonly measurement: Measurement; readonly result: T }> {
  const watch = new UsageWatch(scope);
  const startedMs = performance.now();
  try {
    const result = await work();
    const seconds = (performance.now() - startedMs) / 1000;
    return { measurement: { seconds, ...watch.stop() }, result };
  } catch (error) {
    watch.stop();
    throw error;
  }
}

function start(file: string, args: readonly string[], options: CommandOptions): { child: ChildProcess; ended: Promise<string> } {
  const child = spawn(file, args, { env: options.env, cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const keep = (text: string): void => {
    said = (said + text).slice(-outputKeptCharacters);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  const ended = once(child, 'close').then(([code]) => {
    if (code === 0) return said;
    throw new Error(`${file} ${args.join(' ')} ended with ${code}: ${said.trim()}`);
  });
  return { child, ended };
}
