import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { carrySettings } from '../../src/postgres/carried-settings.ts';
import { absentLibraries } from '../../src/postgres/libraries.ts';

let directory: string;
let binDirectory: string;
const gibibyte = 1024 ** 3;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wb-carried-'));
  binDirectory = join(directory, 'bin');
  await mkdir(join(directory, 'lib/postgresql'), { recursive: true });
  for (const name of ['plpgsql.so', 'pg_stat_statements.so', 'pg_cron.so']) await writeFile(join(directory, 'lib/postgresql', name), '');
});
afterAll(async () => rm(directory, { recursive: true, force: true }));

async function carried(settings: Readonly<Record<string, string>>, memoryBytes = 8 * gibibyte) {
  const { carried: kept, notCarried } = await carrySettings(new Map(Object.entries(settings)), { binDirectory, memoryBytes });
  return { kept: Object.fromEntries(kept), notCarried };
}

it('carrySettings keeps what does no harm in a copy, and names the rest', async () => {
  const settings = { work_mem: '4MB', primary_conninfo: 'password=x', ssl_cert_file: '/etc/x', autovacuum_naptime: '1min' };
  expect(await carried(settings)).toEqual({
    kept: { work_mem: '4MB', autovacuum_naptime: '1min' },
    notCarried: ['primary_conninfo', 'ssl_cert_file'],
  });
});

it('carrySettings leaves out libraries that are absent or would run jobs, with their settings', async () => {
  const settings = {
    shared_preload_libraries: 'pg_stat_statements, pg_cron,nowhere',
    'pg_stat_statements.max': '100',
    'pg_cron.host': 'x',
  };
  expect(await carried(settings)).toEqual({
    kept: { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.max': '100' },
    notCarried: ['shared_preload_libraries: pg_cron', 'shared_preload_libraries: nowhere', 'pg_cron.host'],
  });
});

it.each([
  ['7GB', true],
  ['8GB', false],
  ['1TB', false],
  ['8192MB', false],
  ['1048575', true],
  ['1048576', false],
  ['16 MB', true],
])('carrySettings keeps a shared_buffers of %s on a host of 8 GB: %s', async (value, isKept) => {
  const { kept, notCarried } = await carried({ shared_buffers: value });
  expect([kept['shared_buffers'], notCarried]).toEqual(isKept ? [value, []] : [undefined, ['shared_buffers']]);
});

it('absentLibraries finds libraries below $libdir and by their path, and knows when $libdir lies elsewhere', async () => {
  const byPath = join(directory, 'lib/postgresql/pg_cron');
  expect(await absentLibraries(['$libdir/plpgsql', byPath, '$libdir/nowhere', '/nowhere/x'], binDirectory)).toEqual([
    '$libdir/nowhere',
    '/nowhere/x',
  ]);
  expect(await absentLibraries(['$libdir/plpgsql'], join(directory, 'other/bin'))).toBeUndefined();
});
