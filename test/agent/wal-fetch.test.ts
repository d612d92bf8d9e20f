import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { restoreCommand } from '../../src/agent/commands.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { AgentFixture, commandPath, replacePlaceholders, resultOf, segment } from './agent-fixture.ts';

/** The command's own code for proven absence; the shell line makes 1 of it. */
const absentExitCode = 100;

describe('fetch', () => {
  it('exits 0 with the bytes of the archive in place', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9);
    expect(await fixture.fetch(segment(1))).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await fixture.recovered()).toBe(`bytes of ${segment(1)}`);
  });

  it('is absent without a question to the store when the name is outside the view', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(10);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9, ['00000002.history']);
    for (const name of [segment(10), segment(1, 2), '00000003.history']) {
      const result = await fixture.fetch(name);
      expect(result.exitCode).toBe(absentExitCode);
      expect(result.stderr).toBe(`walkback: fetch ${name}: not in the archive\n`);
    }
    expect(fixture.files.fetches).toEqual([]);
  });

  it('fetches a history file of the view', async () => {
    await using fixture = await AgentFixture.create();
    fixture.files.stored.set('00000002.history', Buffer.from('1\t0/5000000\tno recovery target specified\n'));
    await fixture.start();
    await fixture.registerRestore(1, 9, ['00000002.history']);
    expect((await fixture.fetch('00000002.history')).exitCode).toBe(0);
    expect(await fixture.recovered()).toContain('0/5000000');
  });

  it('exits 255 when WAL that was proven to be there is gone', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerRestore(1, 9);
    const result = await fixture.fetch(segment(3));
    expect(result.exitCode).toBe(255);
    expect(result.stderr).toContain('is gone. (WAL_MISSING)');
  });

  it.each([
    ['does not answer', new WalkbackError('STORAGE_UNREACHABLE', 'away')],
    ['refuses the credentials', new WalkbackError('STORAGE_ACCESS_DENIED', 'refused')],
    ['holds damaged bytes', new WalkbackError('OBJECT_DAMAGED', 'damaged')],
    ['fails unexpectedly', new TypeError('of no kind we know')],
  ])('exits 255 when the store %s', async (_, error) => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerRestore(1, 9);
    fixture.files.before = () => Promise.reject(error);
    const result = await fixture.fetch(segment(1));
    expect(result.exitCode).toBe(255);
    expect(result.stderr).toContain(error.message);
    expect(await readdir(join(fixture.dataDirectory, 'pg_wal'))).toEqual(['archive_status']);
  });

  it('reads a damaged file again, and no more than three times', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9);
    fixture.files.stored.set(segment(1), Buffer.from('one'));
    let damagedReads = 2;
    fixture.files.before = () => {
      damagedReads -= 1;
      if (damagedReads >= 0) throw new WalkbackError('OBJECT_DAMAGED', 'damaged');
    };
    expect((await fixture.fetch(segment(1))).exitCode).toBe(0);
    damagedReads = Number.POSITIVE_INFINITY;
    expect((await fixture.fetch(segment(1))).exitCode).toBe(255);
    expect(fixture.files.fetches).toHaveLength(6);
  });

  it('exits 255 when the restore is unknown, or no agent listens', async () => {
    await using fixture = await AgentFixture.create();
    expect((await fixture.fetch(segment(1))).exitCode).toBe(255);
    await fixture.start();
    const result = await fixture.fetch(segment(1));
    expect(result.exitCode).toBe(255);
    expect(result.stderr).toContain('knows no restore');
  });

  it.each(['not json\n', '{"result":"archived"}\n', 'null\n', ''])('exits 255 when the agent answers %j', async (answer) => {
    await using fixture = await AgentFixture.create();
    const server = createServer((socket) => socket.once('data', () => socket.end(answer))).listen(fixture.socketPath);
    await once(server, 'listening');
    expect((await fixture.fetch(segment(1))).exitCode).toBe(255);
    server.close();
  });

  it('refuses to write outside the pg_wal of the restore', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1);
    await fixture.start();
    await fixture.registerRestore(1, 9);
    const result = await fixture.run(process.execPath, [
      commandPath,
      'fetch',
      fixture.socketPath,
      'restore one',
      segment(1),
      'global/pg_control',
    ]);
    expect(result.exitCode).toBe(255);
    expect(result.stderr).toContain('WAL_REFUSED');
  });

  it('succeeds within one request when the store comes back', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1);
    await fixture.start({ fetchPatience: { totalMs: 5_000, firstDelayMs: 5, maximumDelayMs: 5 } });
    await fixture.registerRestore(1, 1);
    let failuresCount = 3;
    fixture.files.before = () => {
      if (failuresCount-- > 0) throw new WalkbackError('STORAGE_UNREACHABLE', 'away');
    };
    expect((await fixture.fetch(segment(1))).exitCode).toBe(0);
  });

  it('dies by SIGTERM, as PostgreSQL expects, and what it asked for is not written behind the back of its successor', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 2);
    const gate = Promise.withResolvers<void>();
    fixture.files.before = (_, name) => (name === segment(1) ? gate.promise : undefined);
    const child = fixture.spawn(process.execPath, [
      commandPath,
      'fetch',
      fixture.socketPath,
      'restore one',
      segment(1),
      'pg_wal/RECOVERYXLOG',
    ]);
    await vi.waitFor(() => expect(fixture.files.fetches).toEqual([segment(1)]));
    child.kill('SIGTERM');
    expect(await resultOf(child)).toMatchObject({ exitCode: null, signal: 'SIGTERM' });
    expect((await fixture.fetch(segment(2))).exitCode).toBe(0);
    gate.resolve();
    await vi.waitFor(() => expect(fixture.logged.join()).toContain('Whoever asked'));
    expect(await fixture.recovered()).toBe(`bytes of ${segment(2)}`);
  });
});

describe('prefetch', () => {
  it('fetches the next segments of the view, and none beyond it', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2, 3, 4, 5);
    await fixture.start({ prefetchCount: 8 });
    await fixture.registerRestore(1, 4);
    await fixture.fetch(segment(1));
    await vi.waitFor(async () => expect(await readdir(fixture.prefetchDirectory)).toEqual([2, 3, 4].map((number) => segment(number))));
    expect(fixture.files.fetches).not.toContain(segment(5));
  });

  it('is used by the shell alone, byte for byte, and goes on as the shell takes files away', async () => {
    await using fixture = await AgentFixture.create();
    const numbers = Array.from({ length: 12 }, (_, index) => index + 1);
    fixture.store(...numbers);
    await fixture.start({ prefetchCount: 2 });
    await fixture.registerRestore(1, 12);
    await fixture.fetch(segment(1));
    for (const number of numbers.slice(1)) {
      await vi.waitFor(async () => expect(await readdir(fixture.prefetchDirectory)).toContain(segment(number)));
      expect((await readdir(fixture.prefetchDirectory)).length).toBeLessThanOrEqual(4);
      expect((await fixture.shell(lineFor(fixture, segment(number), '/nonexistent/node'))).exitCode).toBe(0);
      expect(await fixture.recovered()).toBe(`bytes of ${segment(number)}`);
    }
    expect([...fixture.files.fetches].sort()).toEqual(numbers.map((number) => segment(number)));
  });

  it('is waited for by a request for the segment under way, and not fetched twice', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2);
    await fixture.start();
    await fixture.registerRestore(1, 2);
    const gate = Promise.withResolvers<void>();
    fixture.files.before = (_, name) => (name === segment(2) ? gate.promise : undefined);
    await fixture.fetch(segment(1));
    await vi.waitFor(() => expect(fixture.files.fetches).toContain(segment(2)));
    const result = fixture.fetch(segment(2));
    gate.resolve();
    expect((await result).exitCode).toBe(0);
    expect(fixture.files.fetches).toEqual([segment(1), segment(2)]);
    expect(await fixture.recovered()).toBe(`bytes of ${segment(2)}`);
  });

  it('begins again when PostgreSQL starts over from an earlier segment', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2, 3, 4, 5, 6);
    await fixture.start({ prefetchCount: 1 });
    await fixture.registerRestore(1, 6);
    await fixture.fetch(segment(5));
    await vi.waitFor(async () => expect(await readdir(fixture.prefetchDirectory)).toEqual([segment(6)]));
    await fixture.fetch(segment(1));
    await vi.waitFor(async () => expect(await readdir(fixture.prefetchDirectory)).toEqual([segment(2)]));
    expect((await fixture.fetch(segment(1))).exitCode).toBe(0);
  });

  it('does nothing when the disk has less room than the floor', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2, 3);
    await fixture.start({ diskFloorBytes: Number.MAX_SAFE_INTEGER });
    await fixture.registerRestore(1, 3);
    for (const number of [1, 2, 3]) {
      expect((await fixture.fetch(segment(number))).exitCode).toBe(0);
      expect(fixture.files.fetches).toHaveLength(number);
    }
  });

  it('survives a pg_wal on another file system', async ({ skip }) => {
    await using fixture = await AgentFixture.create();
    const otherFileSystem = join('/dev/shm', `walkback-${process.pid}`);
    await mkdir(join(otherFileSystem, 'archive_status'), { recursive: true }).catch(() => skip('no /dev/shm here'));
    await rm(join(fixture.dataDirectory, 'pg_wal'), { recursive: true });
    await symlink(otherFileSystem, join(fixture.dataDirectory, 'pg_wal'));
    try {
      fixture.store(1);
      await fixture.start();
      await fixture.registerRestore(1, 1);
      expect((await fixture.fetch(segment(1))).exitCode).toBe(0);
      expect(await fixture.recovered()).toBe(`bytes of ${segment(1)}`);
    } finally {
      await rm(otherFileSystem, { recursive: true, force: true });
    }
  });

  it('is removed when the restore is unregistered, which may be asked twice', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2);
    await fixture.start();
    await fixture.registerRestore(1, 2);
    await fixture.fetch(segment(1));
    await fixture.service?.unregisterRestore('restore one');
    await fixture.service?.unregisterRestore('restore one');
    await expect(readdir(fixture.prefetchDirectory)).rejects.toThrow('ENOENT');
    expect((await fixture.fetch(segment(2))).exitCode).toBe(255);
  });
});

describe('an agent that is killed', () => {
  it('serves the same restore after its restart, and the command waits for it', async () => {
    await using fixture = await AgentFixture.create();
    await mkdir(join(fixture.directory, 'archive'));
    await writeFile(join(fixture.directory, 'archive', segment(1)), 'bytes of one');
    await fixture.start();
    await fixture.registerRestore(1, 2);
    await fixture.service?.[Symbol.asyncDispose]();
    const first = await startAgent(fixture, 60_000);
    const child = fixture.spawn(process.execPath, [
      commandPath,
      'fetch',
      fixture.socketPath,
      'restore one',
      segment(1),
      'pg_wal/RECOVERYXLOG',
      '20000',
    ]);
    const result = resultOf(child);
    await vi.waitFor(async () => expect(await readdir(join(fixture.dataDirectory))).toContain('walkback_restore'), { timeout: 5_000 });
    first.kill('SIGKILL');
    await once(first, 'exit');
    const second = await startAgent(fixture, 0);
    expect(await result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await fixture.recovered()).toBe('bytes of one');
    second.kill('SIGKILL');
    await once(second, 'exit');
  });
});

describe('restoreCommand', () => {
  it.each([
    ['0 when the file is there', 1, 0],
    ['1 when it is proven absent', 50, 1],
    ['255 when it cannot be told', 7, 255],
  ])('gives PostgreSQL %s, through sh and with odd paths', async (_, number, exitCode) => {
    await using fixture = await AgentFixture.create(`it's 100%f "odd" $HOME`);
    fixture.store(1);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9);
    expect((await fixture.shell(lineFor(fixture, segment(number)))).exitCode).toBe(exitCode);
  });

  it.each([
    ['Node is not installed', '/nonexistent/node', commandPath, 127],
    ['the command file is missing', process.execPath, '/nonexistent/wal-command.cjs', 255],
    ['Node fails of its own', '/bin/false', commandPath, 255],
  ])('never looks like absence when %s', async (_, nodePath, command, exitCode) => {
    await using fixture = await AgentFixture.create();
    expect((await fixture.shell(lineFor(fixture, segment(50), nodePath, command))).exitCode).toBe(exitCode);
  });

  it('passes on that the command was ended by SIGTERM', async () => {
    await using fixture = await AgentFixture.create();
    await writeFile(join(fixture.directory, 'killed'), '#!/bin/sh\nkill -TERM $$\n', { mode: 0o755 });
    expect((await fixture.shell(lineFor(fixture, segment(1), join(fixture.directory, 'killed')))).exitCode).toBe(128 + 15);
  });

  it('gets the segment from the agent when a mv was killed midway', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 1);
    await writeFile(join(fixture.dataDirectory, 'pg_wal', 'RECOVERYXLOG'), 'half of a fi');
    await mkdir(join(fixture.directory, 'bin'));
    await writeFile(join(fixture.directory, 'bin', 'mv'), '#!/bin/sh\nkill -TERM $$\n', { mode: 0o755 });
    expect((await fixture.shell(`PATH='${fixture.directory}/bin':$PATH; ${lineFor(fixture, segment(1))}`)).exitCode).toBe(0);
    expect(await fixture.recovered()).toBe(`bytes of ${segment(1)}`);
  });
});

/** The line as PostgreSQL hands it to sh. */
function lineFor(fixture: AgentFixture, name: string, nodePath: string = process.execPath, command: string = commandPath): string {
  const { socketPath, prefetchDirectory } = fixture;
  const line = restoreCommand({
    nodePath,
    commandPath: command,
    socketPath,
    restoreId: 'restore one',
    prefetchDirectory,
    agentWaitMs: 300,
  });
  return replacePlaceholders(line, name, 'pg_wal/RECOVERYXLOG');
}

async function startAgent(fixture: AgentFixture, delayMs: number): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('agent-process.ts', import.meta.url));
  const agent = spawn(process.execPath, [program, fixture.directory, String(delayMs)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(agent.stdout, 'data')) as [Buffer];
  expect(line.toString()).toBe('ready\n');
  return agent;
}
