import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { agentStatus, pushFile } from '../../src/agent/client.ts';
import { archiveCommand } from '../../src/agent/commands.ts';
import { AgentFixture, commandPath, replacePlaceholders, segment } from './agent-fixture.ts';

describe('startWalService', () => {
  it('makes a socket for its owner only and removes it when closed', async () => {
    await using fixture = await AgentFixture.create();
    const service = await fixture.start();
    expect((await stat(fixture.socketPath)).mode & 0o777).toBe(0o600);
    await service[Symbol.asyncDispose]();
    await expect(stat(fixture.socketPath)).rejects.toThrow('ENOENT');
  });

  it('refuses a socket on which an agent answers', async () => {
    await using fixture = await AgentFixture.create();
    const first = await fixture.start();
    await expect(fixture.start()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    expect((await agentStatus(fixture.socketPath)).processId).toBe(process.pid);
    await first[Symbol.asyncDispose]();
  });

  it('refuses a path that is something else than a socket', async () => {
    await using fixture = await AgentFixture.create();
    await writeFile(fixture.socketPath, 'precious');
    await expect(fixture.start()).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });

  it('serves persisted registrations again and leaves out one that cannot be read', async () => {
    await using fixture = await AgentFixture.create();
    const first = await fixture.start();
    await fixture.registerCluster({ persist: true });
    await fixture.registerRestore(1, 9);
    await first.registerCluster({ name: 'passing', dataDirectory: fixture.dataDirectory, systemIdentifier: '1', archiveUrl: 'file:///a' });
    await first[Symbol.asyncDispose]();
    await writeFile(join(fixture.directory, 'state', 'restores', 'torn.json'), '{"restoreId":');
    await fixture.start();
    const status = await agentStatus(fixture.socketPath);
    expect(status.clusters.map(({ name }) => name)).toEqual(['shop']);
    expect(status.restores.map(({ restoreId }) => restoreId)).toEqual(['restore one']);
    expect(fixture.logged.join()).toContain('torn.json');
  });

  it('leaves no unfinished registration behind', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await Promise.all([fixture.registerCluster({ persist: true }), fixture.registerCluster({ persist: true })]);
    expect(await readdir(join(fixture.directory, 'state', 'clusters'))).toEqual(['shop.json']);
  });

  it.each([
    ['name', { name: '../shop' }],
    ['dataDirectory', { dataDirectory: 'relative' }],
    ['systemIdentifier', { systemIdentifier: '0x1' }],
  ])('refuses a registration with a wrong %s', async (field, wrong) => {
    await using fixture = await AgentFixture.create();
    const service = await fixture.start();
    const registration = { name: 'shop', dataDirectory: fixture.dataDirectory, systemIdentifier: '1', archiveUrl: 'file:///a', ...wrong };
    await expect(service.registerCluster(registration)).rejects.toThrow(field);
  });

  it('finishes a push that is under way before it closes', async () => {
    await using fixture = await AgentFixture.create();
    const service = await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    const gate = Promise.withResolvers<void>();
    fixture.files.before = () => gate.promise;
    const push = pushFile(fixture.socketPath, { cluster: 'shop', name: segment(1) });
    await vi.waitFor(() => expect(fixture.files.pushes).toHaveLength(1));
    const closed = service[Symbol.asyncDispose]();
    gate.resolve();
    await push;
    await closed;
    await expect(agentStatus(fixture.socketPath)).rejects.toMatchObject({ code: 'AGENT_UNREACHABLE' });
  });

  it('tells the backlog and the last archived file', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ pushAheadCount: 0 });
    await fixture.registerCluster();
    for (const number of [1, 2, 3]) await fixture.writeReady(segment(number));
    await pushFile(fixture.socketPath, { cluster: 'shop', name: segment(1) });
    const [shop] = (await agentStatus(fixture.socketPath)).clusters;
    expect(shop).toMatchObject({ backlogCount: 3, lastArchivedName: segment(1), lastError: null });
    expect(shop?.oldestBacklogAgeMs).toBeGreaterThanOrEqual(0);
  });

  it('tells of a data directory that is not there without hiding the rest', async () => {
    await using fixture = await AgentFixture.create();
    const service = await fixture.start();
    await fixture.registerCluster();
    await service.registerCluster({
      name: 'gone',
      dataDirectory: join(fixture.directory, 'gone'),
      systemIdentifier: '1',
      archiveUrl: 'file:///a',
    });
    const clusters = (await agentStatus(fixture.socketPath)).clusters;
    expect(clusters).toMatchObject([
      { name: 'shop', lastError: null },
      { name: 'gone', lastError: { message: expect.stringContaining('ENOENT') } },
    ]);
  });
});

describe('archiveCommand', () => {
  it('survives spaces, quotes, percent and dollar signs on its way through sh', async () => {
    await using fixture = await AgentFixture.create(`it's 100%p "odd" $HOME`);
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    const { socketPath, stateDirectory } = fixture;
    const line = archiveCommand({ nodePath: process.execPath, commandPath, socketPath, stateDirectory, cluster: 'shop' });
    const result = await fixture.shell(replacePlaceholders(line, segment(1), `pg_wal/${segment(1)}`));
    expect(result).toEqual({ exitCode: 0, signal: null, stderr: '' });
    expect(fixture.files.stored.has(segment(1))).toBe(true);
  });

  it('starts the command of this installation when no paths are given', async () => {
    await using fixture = await AgentFixture.create();
    await mkdir(join(fixture.directory, 'x'));
    const line = archiveCommand({ socketPath: '/s', stateDirectory: '/state', cluster: 'shop', agentWaitMs: 100 });
    expect(line).toMatch(/^a='\/state\/archived\/shop\/'%f; /);
    expect(line.endsWith(`; exec '${process.execPath}' '${commandPath}' 'push' '/s' 'shop' "%f" "%p" 100`)).toBe(true);
  });

  it('asks over the socket alone when the paths are so long that PostgreSQL 14 would cut the line', () => {
    const long = `/${'long'.repeat(100)}`;
    const line = archiveCommand({ socketPath: '/s', stateDirectory: long, commandPath: `${long}.cjs`, cluster: 'shop' });
    expect(line).toBe(`exec '${process.execPath}' '${long}.cjs' 'push' '/s' 'shop' "%f" "%p"`);
  });
});
