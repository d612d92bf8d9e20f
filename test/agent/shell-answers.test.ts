/** What the shell lines find by themselves: every test but those of failures runs without any Node to start. */
import { access, appendFile, cp, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { archiveCommand, restoreCommand } from '../../src/agent/commands.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import { AgentFixture, type CommandResult, replacePlaceholders, segment } from './agent-fixture.ts';

const noNode = '/nonexistent/node';
/** What sh says of a program that is not there: the shell found no answer and wanted to ask over the socket. */
const askedOverSocket = 127;

/** As PostgreSQL runs archive_command, in the data directory. */
function push(fixture: AgentFixture, name: string, dataDirectory = fixture.dataDirectory): Promise<CommandResult> {
  const { socketPath, stateDirectory } = fixture;
  const line = archiveCommand({ nodePath: noNode, socketPath, stateDirectory, cluster: 'shop' });
  return fixture.shell(`cd '${dataDirectory}'; ${replacePlaceholders(line, name, `pg_wal/${name}`)}`);
}

function fetch(fixture: AgentFixture, name: string): Promise<CommandResult> {
  const { socketPath, prefetchDirectory } = fixture;
  const line = restoreCommand({ nodePath: noNode, socketPath, restoreId: 'restore one', prefetchDirectory });
  return fixture.shell(replacePlaceholders(line, name, 'pg_wal/RECOVERYXLOG'));
}

/** Two files wait; PostgreSQL has asked for the first, and the second is archived ahead. */
async function withSecondAcknowledged(): Promise<AgentFixture> {
  const fixture = await AgentFixture.create();
  await fixture.start();
  await fixture.registerCluster();
  await fixture.writeReady(segment(1));
  await fixture.writeReady(segment(2));
  expect((await push(fixture, segment(1))).exitCode).toBe(0);
  await vi.waitFor(() => access(join(fixture.acknowledgements, `${segment(2)}.stamp`)));
  fixture.files.before = () => Promise.reject(new WalkbackError('STORAGE_ACCESS_DENIED', 'nothing more is stored'));
  return fixture;
}

const pathOf = (fixture: AgentFixture, number: number) => join(fixture.dataDirectory, 'pg_wal', segment(number));

describe('the shell of archive_command', () => {
  it('has a file archived that was not archived yet', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    expect(await push(fixture, segment(1))).toEqual({ exitCode: 0, signal: null, stderr: '' });
    expect(fixture.files.stored.get(segment(1))?.toString()).toBe(`bytes of ${segment(1)}`);
  });

  it('finds the acknowledgement of a file archived ahead, as often as it asks', async () => {
    await using fixture = await withSecondAcknowledged();
    expect((await push(fixture, segment(2))).exitCode).toBe(0);
    expect((await push(fixture, segment(2))).exitCode).toBe(0);
    expect(fixture.files.pushes).toEqual([segment(1), segment(2)]);
  });

  it('takes no acknowledgement for another file of the same name and content', async () => {
    await using fixture = await withSecondAcknowledged();
    const path = pathOf(fixture, 2);
    await writeFile(`${path}.new`, await readFile(path));
    await rename(`${path}.new`, path);
    expect((await push(fixture, segment(2))).exitCode).toBe(askedOverSocket);
  });

  it('takes no acknowledgement for a file that was changed since', async () => {
    await using fixture = await withSecondAcknowledged();
    await appendFile(pathOf(fixture, 2), 'more');
    expect((await push(fixture, segment(2))).exitCode).toBe(askedOverSocket);
  });

  it('takes no acknowledgement under the name that the file is recycled to', async () => {
    await using fixture = await withSecondAcknowledged();
    await rename(pathOf(fixture, 2), pathOf(fixture, 9));
    expect((await push(fixture, segment(9))).exitCode).toBe(askedOverSocket);
  });

  it('takes no acknowledgement in a copy of the data directory', async () => {
    await using fixture = await withSecondAcknowledged();
    const copy = join(fixture.directory, 'copy');
    await cp(fixture.dataDirectory, copy, { recursive: true, preserveTimestamps: true });
    expect((await push(fixture, segment(2), copy)).exitCode).toBe(askedOverSocket);
  });

  it('is given no acknowledgement for a file that is replaced while it is archived', async () => {
    await using fixture = await AgentFixture.create();
    await fixture.start();
    await fixture.registerCluster();
    await fixture.writeReady(segment(1));
    fixture.files.before = async () => {
      await writeFile(join(fixture.directory, 'new'), 'other bytes');
      await rename(join(fixture.directory, 'new'), pathOf(fixture, 1));
    };
    expect((await push(fixture, segment(1))).exitCode).toBe(askedOverSocket);
  });

  it('loses the acknowledgements of an agent that has ended, and of one that serves another archive now', async () => {
    await using fixture = await withSecondAcknowledged();
    await fixture.service?.registerCluster({
      name: 'shop',
      dataDirectory: fixture.dataDirectory,
      systemIdentifier: '7000000000000000001',
      archiveUrl: 'file:///another',
    });
    expect((await push(fixture, segment(2))).exitCode).toBe(askedOverSocket);
    await fixture.service?.[Symbol.asyncDispose]();
    await expect(access(fixture.acknowledgements)).rejects.toThrow('ENOENT');
    expect(await readdir(join(fixture.dataDirectory, 'pg_wal'))).not.toContain('walkback_archived');
  });

  it('leaves no link to a file that PostgreSQL knows to be archived', async () => {
    await using fixture = await withSecondAcknowledged();
    await fixture.markDone(1, 2);
    await vi.waitFor(async () => expect(await readdir(fixture.acknowledgements)).toEqual([]));
  });
});

describe('pushing ahead', () => {
  it('ends when PostgreSQL archives by another command', async () => {
    await using fixture = await withSecondAcknowledged();
    const taken = Promise.withResolvers<void>();
    fixture.files.before = () => taken.promise;
    await fixture.writeReady(segment(3));
    // Refusals have paused it: what PostgreSQL asks for resumes it.
    const asked = push(fixture, segment(2));
    expect((await asked).exitCode).toBe(0);
    await vi.waitFor(() => expect(fixture.files.pushes).toContain(segment(3)));
    await rm(join(fixture.dataDirectory, 'pg_wal', 'archive_status', `${segment(3)}.ready`));
    taken.resolve();
    // That it is stored, and without an acknowledgement, is so for a moment before it ends too.
    await vi.waitFor(() => expect(fixture.logged.join()).toContain('PostgreSQL archives by another command'));
    expect(fixture.files.stored.has(segment(3))).toBe(true);
    await vi.waitFor(async () => expect(await readdir(fixture.acknowledgements)).not.toContain(segment(3)));
    await fixture.writeReady(segment(4));
    await fixture.writeReady(segment(5));
    // What was just written may have to wait for its stamp, and that is not to be the one that is asked for.
    await utimes(pathOf(fixture, 5), 0, 0);
    expect((await fixture.push(segment(5))).exitCode).toBe(0);
    expect(fixture.files.pushes.at(3)).toBe(segment(5));
  });
});

describe('the shell of restore_command', () => {
  it('finds what was fetched before PostgreSQL asked for anything', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(1, 2, 3);
    await fixture.start({ prefetchCount: 2 });
    await fixture.registerRestore(1, 3);
    await vi.waitFor(async () => expect((await readdir(fixture.prefetchDirectory)).sort()).toEqual([segment(1), segment(2)]));
    for (const number of [1, 2, 3]) {
      expect(await fetch(fixture, segment(number))).toEqual({ exitCode: 0, signal: null, stderr: '' });
      expect(await fixture.recovered()).toBe(`bytes of ${segment(number)}`);
    }
    expect(fixture.files.fetches).toEqual([segment(1), segment(2), segment(3)]);
  });

  it('has a file fetched that does not lie there, a history file too', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(7);
    fixture.files.stored.set('00000002.history', Buffer.from('1\t0/5000000\tno recovery target specified\n'));
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9, ['00000002.history']);
    expect((await fetch(fixture, '00000002.history')).exitCode).toBe(0);
    expect(await fixture.recovered()).toContain('0/5000000');
    expect((await fetch(fixture, segment(7))).exitCode).toBe(0);
    expect(await fixture.recovered()).toBe(`bytes of ${segment(7)}`);
  });

  it('says absent for names beyond the view alone, and forgets it when the view becomes another', async () => {
    await using fixture = await AgentFixture.create();
    fixture.store(10);
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9);
    for (const name of [segment(10), '00000002.history', segment(10)]) expect((await fetch(fixture, name)).exitCode).toBe(1);
    expect(fixture.files.fetches).toEqual([]);
    await fixture.registerRestore(1, 10);
    expect((await fetch(fixture, segment(10))).exitCode).toBe(0);
  });

  it.each(['STORAGE_ACCESS_DENIED', 'OBJECT_DAMAGED'] as const)('never says absent when the store answers %s', async (code) => {
    await using fixture = await AgentFixture.create();
    await fixture.start({ prefetchCount: 0 });
    await fixture.registerRestore(1, 9);
    fixture.files.before = () => Promise.reject(new WalkbackError(code, 'no'));
    expect((await fetch(fixture, segment(3))).exitCode).toBe(askedOverSocket);
  });

  it('never says absent when the shell itself fails', async () => {
    await using fixture = await AgentFixture.create();
    const line = restoreCommand({ socketPath: '/s', restoreId: 'x', prefetchDirectory: fixture.directory });
    const broken = replacePlaceholders(line, segment(1), 'pg_wal/RECOVERYXLOG').replace('i=0', '. /nonexistent/file');
    expect((await fixture.shell(broken)).exitCode).toBe(255);
  });
});
