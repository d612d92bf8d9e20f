import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readdir, utimes, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { isRunning } from '../harness/processes.ts';
import { temporaryDirectory } from '../harness/temp.ts';
import { waitUntil } from '../harness/wait-until.ts';

const scripts = new URL('../../scripts/', import.meta.url);
const runScript = fileURLToPath(new URL('run.mjs', scripts));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command by scripts/run.mjs to its end. */
async function run(command: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const options = { env: { ...process.env, ...environment } };
  return promisify(execFile)(process.execPath, [runScript, ...command], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Outcome) => ({ code: error.code, stdout: error.stdout, stderr: error.stderr }),
  );
}

describe('scripts/run.mjs', () => {
  it('gives the exit code of the command', async () => {
    expect((await run(['sh', '-c', 'exit 7'])).code).toBe(7);
    expect((await run(['sh', '-c', 'kill -KILL $$'])).code).toBe(137);
    expect((await run(['no-such-command'])).code).toBe(127);
  });

  it('keeps the variables of libpq away and gives a TMPDIR that is gone afterwards', async () => {
    const { stdout } = await run(['sh', '-c', 'echo "$PGHOST,$PGPASSWORD,$TMPDIR"; touch "$TMPDIR/file"'], {
      PGHOST: 'db',
      PGPASSWORD: 'x',
    });
    const [host, password, temporary = ''] = stdout.trim().split(',');
    expect([host, password]).toEqual(['', '']);
    expect(temporary.length).toBeLessThan(80);
    await expect(readdir(temporary)).rejects.toThrow('ENOENT');
  });

  it('ends and names what the command left running, also outside of its process group', async () => {
    // A program that is just being started has no command line yet, or its starter's.
    const untilStarted = 'for pid in $first $second; do until grep -q ^sleep /proc/$pid/cmdline; do :; done; echo $pid; done';
    const { stdout, stderr } = await run(['sh', '-c', `sleep 61 >&2 & first=$!; setsid sleep 62 >&2 & second=$!; ${untilStarted}`]);
    const pids = stdout.trim().split('\n').map(Number);
    expect(stderr).toMatch(/left running: process \d+: .*sleep 61/);
    expect(stderr).toMatch(/left running: process \d+: .*sleep 62/);
    for (const pid of pids) expect(isRunning(pid)).toBe(false);
  });

  it('hands a signal on once', async () => {
    const program =
      "let n = 0; process.on('SIGINT', () => { n += 1; setTimeout(() => process.exit(n), 200); }); console.log('ready'); setInterval(() => {}, 1000)";
    const child = spawn(process.execPath, [runScript, 'node', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');
    expect(code).toBe(1);
  });
});

describe('withLock', () => {
  /** Takes the lock in a process of its own, writes to a file when it has it, and holds it until that process is killed. */
  function holder(lock: string, output: string): ReturnType<typeof spawn> {
    const module = pathToFileURL(fileURLToPath(new URL('setup/lock.mjs', scripts))).href;
    const program = `import { withLock } from '${module}'; import { writeFileSync } from 'node:fs';
      await withLock('${lock}', async () => { writeFileSync('${output}', 'held'); if ('${output}'.endsWith('keep')) await new Promise((r) => setTimeout(r, 60000)); });`;
    return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  }

  it('waits for a live holder and takes over from one that was killed', async () => {
    await using directory = await temporaryDirectory();
    const lock = directory.join('lock');
    const first = holder(lock, directory.join('keep'));
    await waitUntil(() => readFile(directory.join('keep')), { description: 'the first process holds the lock' });
    const second = holder(lock, directory.join('second'));
    const secondEnded = once(second, 'exit');
    expect(await readdir(directory.path)).not.toContain('second');
    first.kill('SIGKILL');
    expect(await secondEnded).toEqual([0, null]);
    expect(await readFile(directory.join('second'), 'utf8')).toBe('held');
    expect(await readdir(directory.path)).not.toContain('lock');
  });

  it('takes over a lock whose holder died before it wrote its process id', async () => {
    await using directory = await temporaryDirectory();
    const lock = directory.join('lock');
    await mkdir(lock);
    await utimes(lock, 0, 0);
    expect(await once(holder(lock, directory.join('next')), 'exit')).toEqual([0, null]);
  });

  it('takes over a lock that names no process', async () => {
    await using directory = await temporaryDirectory();
    const lock = directory.join('lock');
    await mkdir(lock);
    await writeFile(directory.join('lock', 'pid'), '999999999');
    expect(await once(holder(lock, directory.join('next')), 'exit')).toEqual([0, null]);
  });
});
