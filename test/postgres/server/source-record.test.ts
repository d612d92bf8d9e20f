import { expect, it } from 'vitest';
import { linkedIcuMajor, inspectMachine } from '../../../src/postgres/machine.ts';
import { absentLibraries } from '../../../src/postgres/libraries.ts';
import { readSourceRecord } from '../../../src/postgres/source-record.ts';
import { availableInstallations, createTestCluster } from '../../harness/postgres.ts';

const installations = await availableInstallations();
const megabyte = 1024 * 1024;

it.each(installations)('readSourceRecord tells what PostgreSQL $version needs to run its data elsewhere', async (installation) => {
  await using cluster = await createTestCluster({
    installation,
    name: 'source-record',
    settings: { shared_buffers: '24MB', max_connections: 57, max_locks_per_transaction: 70, huge_pages: 'off' },
  });
  const makeFunction = (name: string) => `CREATE FUNCTION ${name}() RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'`;
  await cluster.query('CREATE DATABASE other');
  await cluster.query('CREATE DATABASE closed ALLOW_CONNECTIONS false');
  await cluster.query(`${makeFunction('here')}; ${makeFunction('gone')}`);
  // PostgreSQL lets nobody name a library that is not there, so it goes away afterwards.
  await cluster.query(`UPDATE pg_proc SET probin = '$libdir/nowhere' WHERE proname = 'gone'`);
  const record = await readSourceRecord(cluster.connectOptions);
  expect(record).toMatchObject({
    architecture: process.arch,
    sharedBuffersBytes: 24 * megabyte,
    hugePages: 'off',
    preloadLibraries: [],
    functionLibraries: ['$libdir/nowhere', '$libdir/plpgsql'],
    databasesLeftOut: 1,
  });
  expect(record.version).toContain(`PostgreSQL ${installation.major}`);
  expect(record.minimums).toMatchObject({ max_connections: 57, max_locks_per_transaction: 70, max_prepared_transactions: 0 });
  expect(record.locales.map(({ database, provider, locale }) => [database, provider, locale])).toEqual(
    ['closed', 'other', 'postgres', 'template1'].map((database) => [database, 'libc', 'C']),
  );
  expect(new Set(record.extensions.map(({ database, name }) => `${database}/${name}`))).toEqual(
    new Set(['other/plpgsql', 'postgres/plpgsql', 'template1/plpgsql']),
  );
  const { binDirectory } = installation;
  expect(record.icuMajor).toBe(await linkedIcuMajor(binDirectory));
  expect(await absentLibraries(record.functionLibraries, binDirectory)).toEqual(['$libdir/nowhere']);
});

it('inspectMachine tells memory and the C library of this machine', async () => {
  const machine = await inspectMachine();
  expect(machine.memoryBytes).toBeGreaterThan(64 * megabyte);
  expect(machine.freeMemoryBytes).toBeLessThanOrEqual(machine.memoryBytes);
  expect(machine.glibcVersion).toMatch(/^\d+\.\d+|null$/);
});
