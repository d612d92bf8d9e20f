import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { markedProcesses } from '../harness/processes.ts';
import { querySource, restoreRequest, type Shop, startShop } from './cli/shop.ts';
import { executions, withTemporal } from './cli/temporal.ts';

/** The agent restarted the source to enable archiving, so that the server writes here since. */
const sourceLog = 'agent/log/shop-restart.log';
const secondRole = 'shop_reader';
const newPassword = `new-${crypto.randomUUID()}`;
const secondOldPassword = `old-${crypto.randomUUID()}`;
let shop: Shop;
let report: LandingReport;
/** Command lines seen while the restore ran. */
const commandLines = new Set<string>();
/** Where a text was looked for, by place. */
const places = new Map<string, string>();
let secrets: ReadonlyMap<string, string>;

beforeAll(async () => {
  // The hardest case: the source logs every statement, and its restored copy has the same settings.
  shop = await startShop({ settings: { log_statement: 'all', log_min_duration_statement: '0', log_min_error_statement: 'debug5' } });
  await runRestore();
  secrets = await knownSecrets();
  await collectPlaces();
});
afterAll(() => shop?.site[Symbol.asyncDispose]());

/** A restore with a given new password, a generated one, and both old ones named. */
async function runRestore(): Promise<void> {
  const { site } = shop;
  await querySource(site, `CREATE ROLE ${secondRole} LOGIN PASSWORD '${secondOldPassword}'`);
  const newPasswordFile = join(site.directory, 'new-password');
  await writeFile(newPasswordFile, `${newPassword}\n`, { mode: 0o600 });
  const request = await restoreRequest(shop, 'secretive', {
    target: { kind: 'latest' },
    roles: [
      {
        role: 'shop_owner',
        newName: 'shop_2',
        password: { kind: 'file', path: newPasswordFile },
        oldPasswordFile: shop.oldPasswordFile,
      },
      { role: secondRole, newName: 'reader_2', password: { kind: 'generate' } },
    ],
    checks: [{ sql: 'SELECT count(*) FROM orders', expected: '4' }],
  });
  const handle = await site.client.startRestore(request);
  const watch = setInterval(rememberCommandLines, 20);
  try {
    report = await handle.result();
  } finally {
    clearInterval(watch);
  }
}

function rememberCommandLines(): void {
  const { directory } = shop.site;
  for (const { commandLine } of markedProcesses({ variable: `WALKBACK_CONFIG=${shop.site.configFile}`, directory }, new Set([process.pid])))
    commandLines.add(commandLine);
}

/** Passwords in clear text, and the SCRAM verifiers of the new ones: who has a verifier's keys can log in or forge the server. */
async function knownSecrets(): Promise<ReadonlyMap<string, string>> {
  const generated = (await readFile(report.roles[1]?.passwordFile ?? '', 'utf8')).trim();
  const found = new Map([
    ['the old password', shop.oldPassword],
    ['the second old password', secondOldPassword],
    ['the given new password', newPassword],
    ['the generated password', generated],
  ]);
  const { socketDirectory: host, port } = report;
  const servers = [
    ['source', shop.site.source.server],
    ['child', { host, port, user: 'postgres', database: 'postgres' }],
  ] as const;
  for (const [name, server] of servers) {
    await using connection = await connectServer(server);
    const rows = await connection.query<{ rolname: string; rolpassword: string }>(
      'SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL',
    );
    for (const { rolname, rolpassword } of rows) {
      const [salt = '', keys = ''] = rolpassword.split('$').slice(1);
      const [storedKey = '', serverKey = ''] = keys.split(':');
      found.set(`${name}: salt of ${rolname}`, salt.split(':')[1] ?? '').set(`${name}: stored key of ${rolname}`, storedKey);
      found.set(`${name}: server key of ${rolname}`, serverKey);
    }
  }
  return found;
}

async function collectPlaces(): Promise<void> {
  const { site } = shop;
  await collectHistories();
  places.set('command lines', [...commandLines].join('\n'));
  for (const file of await filesBelow(site.directory)) {
    const path = file.slice(site.directory.length + 1);
    // Where passwords belong, and the data itself: PostgreSQL keeps verifiers in pg_authid and its WAL.
    if (/^(?:old|new)-password$|^agent\/credentials\//.test(path) || isData(path)) continue;
    places.set(path, await readFile(file, 'latin1'));
  }
  for (const cluster of ['shop', 'secretive']) await collectObjects(site.s3.url(cluster));
}

function isData(path: string): boolean {
  return /^(?:shop|secretive)\//.test(path) && !/^[^/]+\/(?:log|walkback_restore|pg_log)\/|\.(?:conf|json|csv|log)$/.test(path);
}

async function collectHistories(): Promise<void> {
  await withTemporal(shop.site, async (client) => {
    const all = await executions(client);
    for (const { workflowId, runId, memo, searchAttributes } of all) {
      const handle = client.workflow.getHandle(workflowId, runId);
      const history = await handle.fetchHistory();
      const description = await handle.describe();
      places.set(`history of ${workflowId}`, decodedJson(history));
      places.set(`description of ${workflowId}`, decodedJson({ memo, searchAttributes, raw: description.raw }));
    }
  });
}

/** The document with every payload beside its decoded value. */
function decodedJson(value: unknown): string {
  const decoded: string[] = [];
  const text = JSON.stringify(value, (_key, inner: unknown) => {
    if (inner instanceof Uint8Array) {
      decoded.push(Buffer.from(inner).toString('latin1'));
      return undefined;
    }
    if (isPayload(inner)) decoded.push(JSON.stringify(defaultPayloadConverter.fromPayload(inner)) ?? '');
    return typeof inner === 'bigint' ? inner.toString() : inner;
  });
  return `${text}\n${decoded.join('\n')}`;
}

function isPayload(value: unknown): value is { metadata: Record<string, Uint8Array>; data: Uint8Array } {
  return typeof value === 'object' && value !== null && 'metadata' in value && 'data' in value && value.data instanceof Uint8Array;
}

async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** Our own objects, and the documents of base backups; parts and WAL hold the data. */
async function collectObjects(url: string): Promise<void> {
  await using store = openObjectStore(url, shop.site.s3.settings);
  for await (const { key } of store.list('')) {
    if (!/^walkback_001\/|\.json$/.test(key)) continue;
    const object = await store.get(key);
    const chunks: Buffer[] = [];
    for await (const chunk of object?.body ?? []) chunks.push(Buffer.from(chunk));
    places.set(`${url}/${key}`, Buffer.concat(chunks).toString('latin1'));
  }
}

/** `name of the secret in place`, for every secret in every place that the pattern chooses. */
function leaks(chosen: RegExp, ofWhat = /./): string[] {
  const among = [...places].filter(([place]) => chosen.test(place));
  expect(among.length).toBeGreaterThan(0);
  return among.flatMap(([place, text]) =>
    [...secrets].filter(([name, secret]) => ofWhat.test(name) && text.includes(secret)).map(([name]) => `${name} in ${place}`),
  );
}

describe('A13: passwords', () => {
  it('the scan knows every password and the verifiers of both clusters', () => {
    expect(secrets.size).toBeGreaterThanOrEqual(12);
    for (const [name, secret] of secrets) expect([name, secret.length >= 16]).toEqual([name, true]);
    expect(report.roles.map(({ oldPasswordProof }) => oldPasswordProof)).toEqual(['login-attempt', 'verifier-comparison']);
  });

  it('the scan finds a secret that was put into a history, so that its silence means something', async () => {
    const planted = {
      payloads: [{ metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from(JSON.stringify({ a: newPassword })) }],
    };
    expect(decodedJson(planted)).toContain(newPassword);
  });

  it('no workflow history, memo, search attribute or heartbeat holds a password or verifier', () => {
    expect([...places.keys()].filter((place) => place.startsWith('history of '))).toEqual(
      expect.arrayContaining([`history of ${report.restoreId}`, 'history of backup/shop', 'history of enable/shop']),
    );
    expect(leaks(/^(?:history|description) of /)).toEqual([]);
  });

  it('neither the log of the worker nor that of the agent holds a password or verifier', () => {
    expect(leaks(/^(?:worker|agent)\.log$/)).toEqual([]);
  });

  it('no log of PostgreSQL and no file of ours in the data directories holds a password or verifier', () => {
    expect([...places.keys()].some((place) => place.startsWith('secretive/walkback_restore/log/'))).toBe(true);
    expect(leaks(/^(?:shop|secretive)\//)).toEqual([]);
    // The old ones are in the source's log since the test created its roles there.
    expect(places.get(sourceLog)).toContain('CREATE ROLE shop_reader');
    expect(leaks(/^(?:shop\.log|agent\/log\/shop-restart\.log)$/, /^(?:the given|the generated|child)/)).toEqual([]);
  });

  it("nothing in the agent's state directory holds a password or verifier but credentials/", () => {
    expect(leaks(/^agent\/(?!log\/shop-restart)/)).toEqual([]);
  });

  it('no command line held a password or verifier while the restore ran', () => {
    expect([...commandLines].some((line) => line.includes('postgres'))).toBe(true);
    expect([...commandLines].some((line) => line.includes('main.ts agent'))).toBe(true);
    expect(leaks(/^command lines$/)).toEqual([]);
  });

  it('no object of ours in the archives holds a password or verifier', () => {
    expect(leaks(/^s3:.*walkback_001\//)).toEqual([]);
    expect(leaks(/^s3:.*\.json$/)).toEqual([]);
  });

  it('the generated password is in a file of mode 0600 below directories of mode 0700', async () => {
    const path = report.roles[1]?.passwordFile ?? '';
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(path, '../..'))).mode & 0o777).toBe(0o700);
  });
});
