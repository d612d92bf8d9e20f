/** A site whose source archives and has a base backup, with a table to lose. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { demoCluster, demoHost, type DemoSite, type DemoSiteOptions, startDemoSite } from '../../../src/demo/demo-site.ts';
import { type Instant, parseInstant } from '../../../src/domain/instant.ts';
import type { RestoreRequest } from '../../../src/domain/restore-request.ts';
import { connectServer } from '../../../src/postgres/connection.ts';
import { freePort } from '../../harness/postgres.ts';

/** The site, and what a restore of it is asked for. */
export interface Shop {
  readonly site: DemoSite;
  /** Three orders are there, a fourth is not yet. */
  readonly beforeFourth: Instant;
  readonly oldPassword: string;
  readonly oldPasswordFile: string;
}

export const shopRole = 'shop_owner';

/** Starts the site; the caller disposes of `shop.site`. */
export async function startShop(options: DemoSiteOptions = {}): Promise<Shop> {
  const site = await startDemoSite({ withUi: false, ...options });
  try {
    return await fillShop(site);
  } catch (error) {
    await site[Symbol.asyncDispose]();
    throw error;
  }
}

async function fillShop(site: DemoSite): Promise<Shop> {
  const oldPassword = `old-${crypto.randomUUID()}`;
  const oldPasswordFile = join(site.directory, 'old-password');
  await writeFile(oldPasswordFile, `${oldPassword}\n`, { mode: 0o600 });
  await querySource(site, `CREATE ROLE ${shopRole} LOGIN PASSWORD '${oldPassword}'`);
  await querySource(site, 'CREATE TABLE orders (id int PRIMARY KEY, item text)');
  await querySource(site, "INSERT INTO orders VALUES (1, 'ink'), (2, 'paper')");
  await (await site.client.startEnable({ cluster: demoCluster, allowRestart: true })).result();
  await (await site.client.startBackup({ cluster: demoCluster })).result();
  await querySource(site, "INSERT INTO orders VALUES (3, 'pens')");
  const beforeFourth = await sourceNow(site);
  await querySource(site, "INSERT INTO orders VALUES (4, 'tape')");
  return { site, beforeFourth, oldPassword, oldPasswordFile };
}

/** Runs a statement on the source as its superuser. */
export async function querySource<Row extends object>(site: DemoSite, sql: string): Promise<Row[]> {
  await using connection = await connectServer(site.source.server);
  return await connection.query<Row>(sql);
}

/** By the clock of the source, and surely between two commits. */
export async function sourceNow(site: DemoSite): Promise<Instant> {
  const [row] = await querySource<{ now: string }>(site, 'SELECT clock_timestamp()::text AS now, pg_sleep(0.02)');
  return parseInstant(row?.now ?? '');
}

/** A restore to the instant before the fourth order; its server is stopped with the site. */
export async function restoreRequest(shop: Shop, name: string, more: Partial<RestoreRequest> = {}): Promise<RestoreRequest> {
  const dataDirectory = more.dataDirectory ?? join(shop.site.directory, name);
  shop.site.restored.push(dataDirectory);
  return {
    cluster: demoCluster,
    name,
    host: demoHost,
    target: { kind: 'time', time: shop.beforeFourth },
    dataDirectory,
    port: await freePort(),
    listenAddresses: '127.0.0.1',
    ...more,
  };
}

/** The same as arguments of `walkback restore`. */
export async function restoreArguments(shop: Shop, name: string, more: readonly string[] = []): Promise<string[]> {
  const { cluster, dataDirectory, port } = await restoreRequest(shop, name);
  const place = ['--as', name, '--data-directory', dataDirectory, '--port', String(port)];
  return ['restore', cluster, '--to', shop.beforeFourth, ...place, ...more];
}
