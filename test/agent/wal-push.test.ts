import { once } from 'node:events';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { agentStatus, pushFile } from '../../src/agent/client.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { AgentFixture, commandPath, resultOf, segment } from './agent-fixture.ts';

describe('push', () => {
  it('exits 0 when the file is durable in the archive', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    expect(await fixture.push(segment(1))).toMatchObject({ exitCode: 0, stderr: '' });
    expect(fixture.files.stored.get(segment(1))?.toString()).toBe(`bytes of ${segment(1)}`);
  });

  it('exits 1 with the reason when the store does not answer, after it was tried again', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    fixture.files.before = () => Promise.reject(new WalkbackError('STORAGE_UNREACHABLE', 'the store\nis away'));
    const result = await fixture.push(segment(1));
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toMatch(/^walkback: push [0-9A-F]{24}: the store is away \(STORAGE_UNREACHABLE\) .*\n$/);
    expect(fixture.files.pushes.length).toBeGreaterThan(1);
    const status = await agentStatus(fixture.socketPath);
    expect(status.clusters).toMatchObject([
      { name: 'shop', backlogCount: 1, lastArchivedName: null, lastError: { code: 'STORAGE_UNREACHABLE' } },
    ]);
  });

  it('succeeds within one request when the store comes back', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ pushPatience: { totalMs: 5_000, firstDelayMs: 5, maximumDelayMs: 5 } });
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    let failuresCount = 3;
    fixture.files.before = () => {
      if (failuresCount-- > 0) throw new WalkbackError('STORAGE_UNREACHABLE', 'away');
    };
    expect((await fixture.push(segment(1))).exitCode).toBe(0);
  });

  it.each([
    ['the agent knows no such cluster', ['push', 'SOCKET', 'other', segment(1), `pg_wal/${segment(1)}`, '300'], 'UNKNOWN_CLUSTER'],
    ['the file does not exist', ['push', 'SOCKET', 'shop', segment(2), `pg_wal/${segment(2)}`, '300'], 'does not exist'],
    ['the path lies outside pg_wal', ['push', 'SOCKET', 'shop', segment(1), `elsewhere/${segment(1)}`, '300'], 'does not lie in'],
    [
      'the path climbs out of pg_wal',
      ['push', 'SOCKET', 'shop', segment(1), `pg_wal/../elsewhere/${segment(1)}`, '300'],
      'does not lie in',
    ],
    ['name and path differ', ['push', 'SOCKET', 'shop', segment(3), `pg_wal/${segment(1)}`, '300'], 'is not a WAL file of the name'],
    [
      'the name is none of a WAL file',
      ['push', 'SOCKET', 'shop', 'PG_VERSION', 'pg_wal/PG_VERSION', '300'],
      'is not a WAL file of the name',
    ],
    ['arguments are missing', ['push', 'SOCKET', 'shop'], 'usage:'],
  ])('exits 1 when %s', async (_, args, reason) => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await mkdir(join(fixture.dataDirectory, 'elsewhere'));
    await writeFile(join(fixture.dataDirectory, 'elsewhere', segment(1)), 'x');
    await fixture.writeReady(segment(1));
    const result = await fixture.run(process.execPath, [commandPath, ...args.map((arg) => (arg === 'SOCKET' ? fixture.socketPath : arg))]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain(reason);
    expect(fixture.files.stored.size).toBe(0);
  });

  it('exits 1 when no agent listens', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.writeReady(segment(1));
    const result = await fixture.push(segment(1));
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('no agent answers on');
  });

  it('exits 1 when another server, a copy of the data directory, uses the name of the cluster', async () => {
    await using fixture = await AgentFixture.create();
    await using copy = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await copy.writeReady(segment(1));
    const result = await copy.run(process.execPath, [commandPath, 'push', fixture.socketPath, 'shop', segment(1), `pg_wal/${segment(1)}`]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('give each server a cluster name of its own');
    expect(fixture.files.pushes).toEqual([]);
  });

  it('follows a pg_wal that is a symbolic link', async () => {
    await using fixture = await AgentFixture.create();
    await rename(join(fixture.dataDirectory, 'pg_wal'), join(fixture.directory, 'wal disk'));
    await symlink(join(fixture.directory, 'wal disk'), join(fixture.dataDirectory, 'pg_wal'));
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    expect((await fixture.push(segment(1))).exitCode).toBe(0);
  });

  it('shares one push when the same file is asked for at the same time', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    const gate = Promise.withResolvers<void>();
    fixture.files.before = () => gate.promise;
    const answers = Array.from({ length: 20 }, () => pushFile(fixture.socketPath, { cluster: 'shop', name: segment(1) }));
    await vi.waitFor(() => expect(fixture.files.pushes.length).toBe(1));
    gate.resolve();
    await Promise.all(answers);
    expect(fixture.files.pushes).toEqual([segment(1)]);
  });

  it('exits 1 when the file is replaced while it is pushed', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    fixture.files.before = async () => {
      await writeFile(join(fixture.directory, 'new'), 'other bytes');
      await rename(join(fixture.directory, 'new'), join(fixture.dataDirectory, 'pg_wal', segment(1)));
    };
    const result = await fixture.push(segment(1));
    expect(result).toMatchObject({ exitCode: 1 });
    expect(result.stderr).toContain('was replaced by another file');
  });
});

describe('push ahead', () => {
  it('archives the next ready files before they are asked for, within its bound', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ pushAheadCount: 3 });
    await fixture.registerCluster();
    for (let number = 1; number <= 6; number++) await fixture.writeReady(segment(number));
    await fixture.push(segment(1));
    // As PostgreSQL does: until then it counts, if it was stored before the others were begun.
    await fixture.markDone(1);
    await vi.waitFor(() => expect(fixture.files.stored.size).toBe(4));
    expect([...fixture.files.stored.keys()].sort()).toEqual([1, 2, 3, 4].map((number) => segment(number)));
    expect((await fixture.push(segment(2))).exitCode).toBe(0);
    expect(fixture.files.pushes.filter((name) => name === segment(2))).toHaveLength(1);
  });

  it('pushes a file again when another inode lies under the name that was archived ahead', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    await fixture.writeReady(segment(2));
    await fixture.push(segment(1));
    await vi.waitFor(() => expect(fixture.files.stored.has(segment(2))).toBe(true));
    const path = join(fixture.dataDirectory, 'pg_wal', segment(2));
    await writeFile(`${path}.new`, await readFile(path));
    await rename(`${path}.new`, path);
    expect((await fixture.push(segment(2))).exitCode).toBe(0);
    expect(fixture.files.pushes.filter((name) => name === segment(2))).toHaveLength(2);
  });

  it('stops while the store does not take what PostgreSQL asks for', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    fixture.files.before = () => Promise.reject(new WalkbackError('STORAGE_ACCESS_DENIED', 'refused'));
    await fixture.writeReady(segment(1));
    await fixture.push(segment(1));
    for (let number = 2; number <= 6; number++) await fixture.writeReady(segment(number));
    await fixture.push(segment(1));
    expect(new Set(fixture.files.pushes)).toEqual(new Set([segment(1)]));
  });

  it('does not keep a failure ahead from the request that follows', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    await fixture.writeReady(segment(2));
    let failuresCount = 1;
    fixture.files.before = (_, name) => {
      if (name === segment(2) && failuresCount-- > 0) throw new WalkbackError('STORAGE_UNREACHABLE', 'away');
    };
    await fixture.push(segment(1));
    await vi.waitFor(() => expect(fixture.files.pushes).toContain(segment(2)));
    expect((await fixture.push(segment(2))).exitCode).toBe(0);
    expect(fixture.files.stored.has(segment(2))).toBe(true);
  });

  it('takes history files first, as PostgreSQL does', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ pushAheadCount: 1 });
    await fixture.registerCluster();
    for (const name of [segment(1), segment(2), '00000002.history']) await fixture.writeReady(name);
    await fixture.push(segment(1));
    await vi.waitFor(() => expect(fixture.files.stored.has('00000002.history')).toBe(true));
    expect(fixture.files.stored.has(segment(2))).toBe(false);
  });
});

describe('the agent socket', () => {
  it.each([
    ['garbage', 'not json\n'],
    ['an answer that does not fit', '{"result":"fetched"}\n'],
    ['an endless line', `${'x'.repeat(100_000)}\n`],
  ])('makes push exit 1 when the agent answers %s', async (_, answer) => {
    await using fixture = await AgentFixture.create();
    const server = createServer((socket) => socket.once('data', () => socket.end(answer))).listen(fixture.socketPath);
    await once(server, 'listening');
    expect((await fixture.push(segment(1))).exitCode).toBe(1);
    server.close();
  });

  it('answers other requests when one sends nonsense or nothing', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    const nonsense = connect(fixture.socketPath).setEncoding('utf8');
    nonsense.write('{"op":"drop"}\n');
    const [line] = (await once(nonsense, 'data')) as [string];
    expect(JSON.parse(line)).toMatchObject({ result: 'error', code: 'INVALID_REQUEST' });
    const endless = connect(fixture.socketPath);
    endless.write('x'.repeat(64 * 1024));
    await once(endless, 'close');
    expect((await agentStatus(fixture.socketPath)).processId).toBe(process.pid);
  });

  it('is sent the request again when the agent is killed in the midst of it', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.writeReady(segment(1));
    await fixture.start();
    await fixture.registerCluster({ persist: true });
    await fixture.service?.[Symbol.asyncDispose]();
    const dying = createServer((socket) => socket.once('data', () => socket.destroy())).listen(fixture.socketPath);
    await once(dying, 'listening');
    const child = fixture.spawn(process.execPath, [
      commandPath,
      'push',
      fixture.socketPath,
      'shop',
      segment(1),
      `pg_wal/${segment(1)}`,
      '5000',
    ]);
    const result = resultOf(child);
    await once(dying, 'connection');
    dying.close();
    await rm(fixture.socketPath, { force: true });
    await fixture.start();
    expect(await result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(fixture.files.pushes).toEqual([segment(1)]);
  });
});
