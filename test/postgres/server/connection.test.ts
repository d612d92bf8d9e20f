import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectServer, isAuthenticationRefused } from '../../../src/postgres/connection.ts';
import { findInstallations, installationFor } from '../../../src/postgres/installations.ts';
import { availableInstallations, createTestCluster, freePort, type TestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const installation = installations.at(-1)!;
let cluster: TestCluster;
beforeAll(async () => {
  cluster = await createTestCluster({ installation, name: 'connect' });
  await cluster.query(`CREATE ROLE app LOGIN PASSWORD 'right'`);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

const tcp = () => ({ ...cluster.connectOptions, host: '127.0.0.1', user: 'app' });

describe('connectServer', () => {
  it('connectServer reads nothing from the environment when a password is missing', async () => {
    process.env['PGPASSWORD'] = 'right';
    process.env['PGOPTIONS'] = '-c nonsense=1';
    try {
      await expect(connectServer(tcp())).rejects.toMatchObject({ code: 'POSTGRES_ACCESS_DENIED' });
      await using connection = await connectServer({ ...tcp(), password: 'right' });
      expect(await connection.query('SELECT current_user AS me, $1::int AS n', [7])).toEqual([{ me: 'app', n: 7 }]);
    } finally {
      delete process.env['PGPASSWORD'];
      delete process.env['PGOPTIONS'];
    }
  });

  it('connectServer tells a refused login from an unreachable server, and never the password', async () => {
    const wrong = await connectServer({ ...tcp(), password: 'wrong-Secret' }).catch((error: unknown) => error);
    expect(wrong).toMatchObject({ code: 'POSTGRES_ACCESS_DENIED', retryable: false, facts: { sqlState: '28P01' } });
    expect(isAuthenticationRefused(wrong)).toBe(true);
    expect(JSON.stringify(wrong) + String(wrong)).not.toContain('wrong-Secret');
    const gone = await connectServer({ ...tcp(), port: await freePort(), password: 'wrong-Secret' }).catch((error: unknown) => error);
    expect(gone).toMatchObject({ code: 'POSTGRES_UNREACHABLE', retryable: true, message: expect.stringContaining('127.0.0.1:') });
    expect(isAuthenticationRefused(gone)).toBe(false);
  });

  it('connectServer gives up when nobody answers in time', async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as { port: number };
    await expect(connectServer({ ...tcp(), port, connectTimeoutMs: 100 })).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    await new Promise((resolve) => silent.close(resolve));
  });

  it('query tells a refused statement from a lost session', async () => {
    await using connection = await connectServer(cluster.connectOptions);
    await expect(connection.query('SELECT nonsense')).rejects.toMatchObject({ code: 'STATEMENT_FAILED', facts: { sqlState: '42703' } });
    await expect(connection.query('SELECT pg_terminate_backend(pg_backend_pid())')).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
    await expect(connection.query('SELECT 1')).rejects.toMatchObject({ code: 'POSTGRES_UNREACHABLE' });
  });

  it('query ends when the signal is aborted or the statement takes too long', async () => {
    const controller = new AbortController();
    await using connection = await connectServer({ ...cluster.connectOptions, signal: controller.signal });
    const sleeping = connection.query('SELECT pg_sleep(20)');
    controller.abort(new Error('cancelled'));
    await expect(sleeping).rejects.toThrow('cancelled');
    await using bounded = await connectServer({ ...cluster.connectOptions, statementTimeoutMs: 50 });
    await expect(bounded.query('SELECT pg_sleep(20)')).rejects.toMatchObject({ code: 'STATEMENT_FAILED', facts: { sqlState: '57014' } });
  });
});

describe('findInstallations', () => {
  it('findInstallations lists explicit ones first and each once', async () => {
    const { binDirectory } = installation;
    const found = await findInstallations({ explicit: [binDirectory, binDirectory], searchDirectories: [binDirectory] });
    expect(found[0]).toEqual(installation);
    expect(found.filter((each) => each.binDirectory === binDirectory)).toHaveLength(1);
  });

  it('installationFor names what there is when the major is missing', async () => {
    const empty = await mkdtemp(join(tmpdir(), 'wb-none-'));
    expect(await installationFor(installation.major, { explicit: [installation.binDirectory] })).toEqual(installation);
    await expect(installationFor(9, { explicit: [installation.binDirectory, empty] })).rejects.toMatchObject({
      code: 'POSTGRES_NOT_FOUND',
      message: expect.stringContaining(installation.version),
    });
    await expect(installationFor(16, { explicit: [empty], usualPlaces: false })).rejects.toThrow(/found none/);
    await rm(empty, { recursive: true });
  });
});
