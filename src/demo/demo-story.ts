/** The story: a table is lost and comes back. Everything here goes through the client library, as another service would do it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OperationHandle } from '../client/handles.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, parseInstant } from '../domain/instant.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { DataCheck, RestoreRequest } from '../domain/restore-request.ts';
import { type ConnectOptions, connectServer, isAuthenticationRefused } from '../postgres/connection.ts';
import { demoCluster, demoHost, type DemoSite } from './demo-site.ts';
import { freePort } from './local-services/free-port.ts';

/** Runs one step of the story and tells it. */
export type Tell = <T>(line: string, step: () => Promise<T>) => Promise<T>;

/** What the story gives to whoever tells it. */
export interface DemoStory {
  readonly customers: readonly string[];
  readonly oldPassword: string;
  readonly reports: readonly { readonly workflowId: string; readonly report: LandingReport }[];
}

/** The role that owns the table, at the source. */
export const demoRole = 'shop_owner';

const customers = [
  ['ada', 'ada@example.com', '2024-01-15'],
  ['brian', 'brian@example.com', '2024-03-02'],
  ['grace', 'grace@example.com', '2024-07-09'],
  ['linus', 'linus@example.com', '2025-02-21'],
  ['margaret', 'margaret@example.com', '2025-11-30'],
] as const;

/** Tells the whole story on a site. */
export async function tellDemoStory(site: DemoSite, tell: Tell): Promise<DemoStory> {
  const oldPassword = `old-${crypto.randomUUID()}`;
  const oldPasswordFile = join(site.directory, 'old-password');
  await writeFile(oldPasswordFile, `${oldPassword}\n`, { mode: 0o600 });
  await tell('shop has a table customers with five rows, owned by shop_owner', () => createCustomers(site, oldPassword));
  await tell('continuous archiving is on, and one WAL segment has arrived', async () => {
    const handle = await site.client.startEnable({ cluster: demoCluster, allowRestart: true });
    return await handle.result();
  });
  await tell('a base backup is in the archive', async () => (await site.client.startBackup({ cluster: demoCluster })).result());
  await tell('more changes: one customer moves to a new address', () => moveCustomer(site));
  const beforeDrop = await tell('the instant is noted', () => noteInstant(site));
  await tell('DROP TABLE customers', () => dropCustomers(site));
  const first = await tell('restore to that instant: shop comes back as shop-before-drop', () =>
    restore(site, { name: 'shop-before-drop', time: beforeDrop, newRole: 'shop_owner_2', oldPasswordFile, checks: checksBeforeDrop }),
  );
  const rows = await tell('the five rows are there, read by the new role over TCP', () => readCustomers(first.report));
  await tell('the old password is refused', () => assertRefused(first.report, oldPassword));
  const now = await tell('the source is idle now; the instant is noted', () => noteInstant(site));
  const second = await tell('restore to now: recovery ends before the target, and lands by dropping it', () =>
    restore(site, { name: 'shop-now', time: now, newRole: 'shop_owner_3', oldPasswordFile, checks: checksAfterDrop }),
  );
  return { customers: rows, oldPassword, reports: [first, second] };
}

const checksBeforeDrop: readonly DataCheck[] = [
  { sql: 'SELECT count(*) FROM customers', expected: '5' },
  { sql: `SELECT email FROM customers WHERE username = 'linus'`, expected: 'linus@new.example.com' },
];
const checksAfterDrop: readonly DataCheck[] = [{ sql: `SELECT to_regclass('customers')`, expected: null }];

async function createCustomers(site: DemoSite, password: string): Promise<void> {
  await using connection = await connectServer(site.source.server);
  await connection.query(`CREATE ROLE ${demoRole} LOGIN PASSWORD '${password}'`);
  await connection.query(`GRANT CREATE ON SCHEMA public TO ${demoRole}`);
  await connection.query(`SET ROLE ${demoRole}`);
  await connection.query(
    'CREATE TABLE customers (user_id serial PRIMARY KEY, username text NOT NULL, email text NOT NULL, registration_date date NOT NULL)',
  );
  for (const customer of customers)
    await connection.query('INSERT INTO customers (username, email, registration_date) VALUES ($1, $2, $3)', customer);
}

async function moveCustomer(site: DemoSite): Promise<void> {
  await using connection = await connectServer(site.source.server);
  await connection.query(`UPDATE customers SET email = 'linus@new.example.com' WHERE username = 'linus'`);
}

/** By the clock of the source, and surely between two commits. */
async function noteInstant(site: DemoSite): Promise<Instant> {
  await using connection = await connectServer(site.source.server);
  const [row] = await connection.query<{ now: string }>(`SELECT clock_timestamp()::text AS now, pg_sleep(0.05)`);
  return parseInstant(row?.now ?? '');
}

async function dropCustomers(site: DemoSite): Promise<void> {
  await using connection = await connectServer(site.source.server);
  await connection.query('DROP TABLE customers');
}

interface WantedRestore {
  readonly name: string;
  readonly time: Instant;
  readonly newRole: string;
  readonly oldPasswordFile: string;
  readonly checks: readonly DataCheck[];
}

async function restore(site: DemoSite, wanted: WantedRestore): Promise<{ workflowId: string; report: LandingReport }> {
  const request = await restoreRequest(site, wanted);
  site.restored.push(request.dataDirectory);
  const handle = await site.client.startRestore(request);
  return { workflowId: handle.workflowId, report: await resultOf(handle) };
}

async function restoreRequest(site: DemoSite, wanted: WantedRestore): Promise<RestoreRequest> {
  const { name, time, newRole, oldPasswordFile, checks } = wanted;
  return {
    cluster: demoCluster,
    name,
    host: demoHost,
    target: { kind: 'time', time },
    dataDirectory: join(site.directory, name),
    port: await freePort(),
    listenAddresses: '127.0.0.1',
    roles: [{ role: demoRole, newName: newRole, password: { kind: 'generate' }, oldPasswordFile }],
    checks,
  };
}

async function resultOf(handle: OperationHandle<unknown, LandingReport>): Promise<LandingReport> {
  return await handle.result();
}

/** Where a client of the restored cluster logs in. */
export function clientServer(report: LandingReport, user: string, password: string): ConnectOptions {
  return { host: '127.0.0.1', port: report.port, user, password, database: 'postgres' };
}

async function readCustomers(report: LandingReport): Promise<string[]> {
  const [role] = report.roles;
  if (role === undefined || role.passwordFile === null)
    throw new WalkbackError('INTERNAL', 'The report names no role with a new password.');
  const password = (await readFile(role.passwordFile, 'utf8')).trim();
  await using connection = await connectServer(clientServer(report, role.newName, password));
  const rows = await connection.query<{ line: string }>(
    `SELECT format('%s  %-10s  %-22s  %s', user_id, username, email, registration_date) AS line FROM customers ORDER BY user_id`,
  );
  return rows.map((row) => row.line);
}

async function assertRefused(report: LandingReport, oldPassword: string): Promise<void> {
  for (const user of [demoRole, ...report.roles.map((role) => role.newName)]) {
    const refused = await connectServer(clientServer(report, user, oldPassword)).then(
      async (connection) => {
        await connection[Symbol.asyncDispose]();
        return false;
      },
      (error: unknown) => isAuthenticationRefused(error),
    );
    if (!refused) throw new WalkbackError('ROLE_SWAP_FAILED', `The old password opens ${report.name} as ${user}.`);
  }
}

/** Waits for Ctrl-C. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  const dayMs = 24 * 60 * 60 * 1000;
  while (!signal.aborted) await delay(dayMs, undefined, { signal }).catch(() => undefined);
}
