import { readFile } from 'node:fs/promises';
import { Connection } from '@temporalio/client';
import { describe, expect, inject, it } from 'vitest';
import { findPostgresInstallations, findTemporalExecutable } from '../../src/demo/local-services/find-tools.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { startSdkDevServer } from '../../src/demo/local-services/sdk-dev-server.ts';
import { startTemporalDevServer } from '../../src/demo/local-services/temporal-server.ts';
import { searchAttributeTypes } from '../../src/domain/search-attributes.ts';
import { isRunning } from '../harness/processes.ts';
import { temporaryDirectory } from '../harness/temp.ts';
import { waitUntil } from '../harness/wait-until.ts';

/** The names of the keyword search attributes that a server knows. */
async function searchAttributesOf(address: string): Promise<readonly string[]> {
  const connection = await Connection.connect({ address });
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    return Object.keys(customAttributes ?? {});
  } finally {
    await connection.close();
  }
}

describe('startTemporalDevServer', () => {
  it('knows the search attributes, serves the UI, and ends its process when it is closed', async () => {
    const server = await startTemporalDevServer({ searchAttributes: { WalkbackWord: 'KEYWORD', WalkbackTime: 'DATETIME' } });
    try {
      expect(await searchAttributesOf(server.address)).toEqual(expect.arrayContaining(['WalkbackWord', 'WalkbackTime']));
      const page = await waitUntil(() => fetch(server.uiUrl ?? ''), { description: 'the UI answers' });
      expect(page.status).toBe(200);
    } finally {
      await server.close();
    }
    expect(isRunning(server.pid ?? 0)).toBe(false);
    await server.close();
  });

  it('starts three at a time on ports of their own', async () => {
    const start = (): ReturnType<typeof startTemporalDevServer> => startTemporalDevServer({ uiPort: false, searchAttributes: {} });
    const servers = await Promise.all([start(), start(), start()]);
    expect(new Set(servers.map(({ address }) => address)).size).toBe(3);
    expect(servers.map(({ uiUrl }) => uiUrl)).toEqual([undefined, undefined, undefined]);
    await Promise.all(servers.map((server) => server.close()));
  });

  it('keeps search attributes over a restart when it has a database file', async () => {
    await using directory = await temporaryDirectory();
    const options = { uiPort: false, databaseFile: directory.join('temporal.db') } as const;
    const first = await startTemporalDevServer({ ...options, searchAttributes: { WalkbackKept: 'INT' } });
    await first.close();
    const second = await startTemporalDevServer({ ...options, searchAttributes: {} });
    expect(await searchAttributesOf(second.address)).toContain('WalkbackKept');
    await second.close();
  });

  it('fails with the lines of the program when the program is no Temporal server', async () => {
    const starting = startTemporalDevServer({ executable: '/bin/false', searchAttributes: {} });
    await expect(starting).rejects.toMatchObject({ code: 'COMMAND_FAILED' });
  });

  it('fails with the reason when the server ends by itself', async () => {
    const starting = startTemporalDevServer({ uiPort: false, searchAttributes: {}, databaseFile: '/nowhere/temporal.db' });
    await expect(starting).rejects.toThrow(/did not come up: exit code 1/);
  });
});

describe('startSdkDevServer', () => {
  it('gives the same kind of server', async () => {
    const path = await findTemporalExecutable(process.env);
    const ports = { port: await freePort(), uiPort: false } as const;
    const server = await startSdkDevServer(ports, ['--search-attribute', 'WalkbackWord=Keyword'], {
      type: 'existing-path',
      path: path ?? '',
    });
    expect(await searchAttributesOf(server.address)).toContain('WalkbackWord');
    await server.close();
  });
});

describe('findTemporalExecutable', () => {
  it('refuses a WALKBACK_TEMPORAL_BIN that is no program', async () => {
    await expect(findTemporalExecutable({ WALKBACK_TEMPORAL_BIN: '/nowhere' })).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
  });
});

describe('findPostgresInstallations', () => {
  it('finds at least three majors, each once', async () => {
    const majors = (await findPostgresInstallations(process.env)).map(({ major }) => major);
    expect(majors.length).toBeGreaterThanOrEqual(3);
    expect(new Set(majors).size).toBe(majors.length);
  });

  it('prefers the directory that WALKBACK_PG_BIN names', async () => {
    const last = (await findPostgresInstallations(process.env)).at(-1);
    const found = await findPostgresInstallations({ ...process.env, WALKBACK_PG_BIN: last?.binDirectory });
    expect(found[0]).toEqual(last);
  });
});

describe('deploy/temporal/create-namespace.sh', () => {
  it('makes every search attribute of the workflows', async () => {
    const script = await readFile(new URL('../../deploy/temporal/create-namespace.sh', import.meta.url), 'utf8');
    const made = Array.from(script.matchAll(/--name (\w+) --type (\w+)/g), ([, name, type]) => [name, type?.toUpperCase()]);
    expect(Object.fromEntries(made)).toEqual(searchAttributeTypes);
  });
});

describe('the suite', () => {
  it('shares a Temporal server', async () => {
    expect(await searchAttributesOf(inject('temporal').address)).toContain('WalkbackTarget');
  });
});
