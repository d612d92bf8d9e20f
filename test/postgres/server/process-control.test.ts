import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startServer, stopServer } from '../../../src/postgres/process-control.ts';
import { serverState } from '../../../src/postgres/server-state.ts';
import { availableInstallations, createTestCluster, type TestCluster } from '../../harness/postgres.ts';
import { until } from './pitr-scene.ts';

const installation = (await availableInstallations()).at(-1)!;
let cluster: TestCluster;

beforeEach(async () => {
  cluster = await createTestCluster({ installation, name: 'process' });
});
afterEach(async () => {
  await cluster[Symbol.asyncDispose]();
});

const start = (more: Partial<Parameters<typeof startServer>[0]> = {}) =>
  startServer({
    binDirectory: installation.binDirectory,
    dataDirectory: cluster.dataDirectory,
    logFile: join(cluster.dataDirectory, '../start.log'),
    timeoutMs: 20_000,
    until: 'accepting',
    ...more,
  });

describe('startServer', () => {
  it('startServer leaves the server as it is when it runs already', async () => {
    const { pid } = await serverState(cluster.dataDirectory);
    expect(await start()).toMatchObject({
      running: true,
      pid,
      status: 'ready',
      port: cluster.port,
      socketDirectory: cluster.socketDirectory,
    });
  });

  it('startServer gives the child nothing of our environment when it starts', async () => {
    await cluster.stop();
    process.env['AWS_SECRET_ACCESS_KEY'] = 'x';
    process.env['PGHOST'] = 'elsewhere';
    try {
      const { pid } = await start();
      const names = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').map((entry) => entry.split('=')[0]);
      expect(names).not.toEqual(expect.arrayContaining(['AWS_SECRET_ACCESS_KEY']));
      expect(names).not.toEqual(expect.arrayContaining(['PGHOST']));
    } finally {
      delete process.env['AWS_SECRET_ACCESS_KEY'];
      delete process.env['PGHOST'];
    }
  });

  it('startServer shows the reason when the configuration is wrong', async () => {
    await cluster.stop();
    await appendFile(join(cluster.dataDirectory, 'postgresql.conf'), `max_connections = 'many'\n`);
    await expect(start()).rejects.toMatchObject({ code: 'POSTGRES_DID_NOT_START', message: expect.stringContaining('contains errors') });
  });

  it('startServer shows the reason when the port is taken', async () => {
    await using other = await createTestCluster({ installation, name: 'other' });
    await cluster.stop();
    await expect(start({ port: other.port })).rejects.toMatchObject({ code: 'POSTGRES_DID_NOT_START' });
  });

  it('startServer leaves no server behind when it is aborted', async () => {
    await cluster.stop();
    for (const delayMs of [0, 5, 30]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(new Error('cancelled')), delayMs);
      const failure = await start({ signal: controller.signal }).then(() => undefined, String);
      const { running } = await serverState(cluster.dataDirectory);
      // A fast machine may have started it before the abort.
      expect({ failure, running }).toEqual(
        failure === undefined ? { failure, running: true } : { failure: 'Error: cancelled', running: false },
      );
      await cluster.stop();
    }
  });

  it('startServer works when a killed server left its pid file behind', async () => {
    const { pid } = await serverState(cluster.dataDirectory);
    process.kill(pid!, 'SIGKILL');
    await until(async () => !(await serverState(cluster.dataDirectory)).running);
    expect(await start()).toMatchObject({ running: true, status: 'ready' });
  });
});

describe('serverState', () => {
  it('serverState says not running when the pid belongs to another program', async () => {
    await cluster.stop();
    await writeFile(join(cluster.dataDirectory, 'postmaster.pid'), `${process.pid}\n${cluster.dataDirectory}\n0\n1\n\n\n\nready\n`);
    expect(await serverState(cluster.dataDirectory)).toMatchObject({ running: false });
  });
});

describe('stopServer', () => {
  it('stopServer stops once, and has nothing to do when called again', async () => {
    const stop = () => stopServer({ dataDirectory: cluster.dataDirectory, mode: 'fast', timeoutMs: 20_000 });
    expect(await stop()).toEqual({ how: 'fast', escalated: false });
    expect(await stop()).toEqual({ how: 'not-running', escalated: false });
  });

  it('stopServer goes over to immediate and says so when fast takes too long', async () => {
    // A shutdown waits for the archiver, which waits for its command.
    await cluster.stop();
    await appendFile(join(cluster.dataDirectory, 'postgresql.conf'), `archive_mode = on\narchive_command = 'sleep 8'\n`);
    await start();
    await cluster.query('SELECT pg_switch_wal() FROM pg_logical_emit_message(true, $1, $2)', ['x', 'y']);
    expect(
      await stopServer({ dataDirectory: cluster.dataDirectory, mode: 'fast', timeoutMs: 500 }).catch((error: unknown) => error),
    ).toMatchObject({
      escalated: true,
    });
  });
});
