/** Archives that stock tools wrote come back through the whole restore, row by row, though their clusters are gone. */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentReader } from '../../src/archive/object-content.ts';
import { demoHost, type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { findPostgresInstallations } from '../../src/demo/local-services/find-tools.ts';
import { freePort } from '../../src/demo/local-services/free-port.ts';
import { startLocalS3 } from '../../src/demo/local-services/local-s3.ts';
import type { Instant } from '../../src/domain/instant.ts';
import type { LandingReport } from '../../src/domain/landing-report.ts';
import type { DataCheck, RestoreRequest } from '../../src/domain/restore-request.ts';
import { writeFileDurably } from '../../src/files/durable-file.ts';
import { temporaryDirectory, type TemporaryDirectory } from '../harness/temp.ts';
import { fixtures } from '../harness/wal-g.ts';

/** The state of the source at an instant (shared/fixtures/README.md). */
interface Facts {
  readonly now: Instant;
  readonly customers: number;
  readonly big: number;
  readonly big_md5: string;
  readonly customers_md5: string;
}

/** What a fixture's JSON says. */
interface Fixture {
  readonly name: string;
  readonly postgres: number;
  readonly key: string;
  readonly atA: Facts;
  readonly beforeDrop: Facts;
  readonly dropXid: string;
  readonly afterLastCommit: Instant;
  readonly roles: { readonly shop_owner: string };
}

const names = ['walg-lz4-full', 'walg-brotli-sodium', 'walg-zstd-deltas', 'wale-lzo'] as const;
/** The first of them, as WAL-G 3.0.8 would have written it without compression. */
const dangling = 'walg-dangling-dot';
const installations = await findPostgresInstallations(process.env);

describe.skipIf(fixtures === undefined)('an archive that another tool wrote', () => {
  let directory: TemporaryDirectory;
  let site: DemoSite;
  const known = new Map<string, Fixture>();

  beforeAll(async () => {
    directory = await temporaryDirectory('foreign');
    for (const name of names) {
      known.set(name, JSON.parse(await readFile(join(fixtures ?? '', `${name}.json`), 'utf8')) as Fixture);
      await mkdir(directory.join(name));
      await execa('tar', ['-xf', join(fixtures ?? '', `${name}.tar`), '--no-same-owner', '-C', directory.join(name)]);
    }
    await copyUncompressed(directory.join(names[0], 'archive'), directory.join(dangling, 'archive'));
    site = await startDemoSite({
      withUi: false,
      startS3: () => startLocalS3({}),
      archives: Object.fromEntries([...names, dangling].map((name) => [name, pathToFileURL(directory.join(name, 'archive')).href])),
      otherInstallations: installations,
      // One key for reading one of them: the others are in plain text, and so is what is written.
      environment: {
        WALG_LIBSODIUM_KEY: known.get('walg-brotli-sodium')?.key ?? '',
        WALG_LIBSODIUM_KEY_TRANSFORM: 'hex',
        WALKBACK_STORAGE_ENCRYPTION: 'none',
      },
    });
  });

  afterAll(async () => {
    await site[Symbol.asyncDispose]();
    await directory.remove();
  });

  async function restore(cluster: string, suffix: string, wanted: Pick<RestoreRequest, 'target'> & Partial<RestoreRequest>) {
    const name = `${cluster}-${suffix}`;
    const dataDirectory = join(site.directory, name);
    site.restored.push(dataDirectory);
    const handle = await site.client.startRestore({
      cluster,
      host: demoHost,
      name,
      dataDirectory,
      port: await freePort(),
      source: 'leave',
      ...wanted,
    });
    return await handle.result();
  }

  it.skipIf(!installations.some(({ major }) => major === 15))(
    'comes back uncompressed, with the dangling dots of WAL-G 3.0.8',
    async () => {
      const { beforeDrop } = known.get(names[0])!;
      const report = await restore(dangling, 'b', { target: { kind: 'time', time: beforeDrop.now }, checks: checksOf(beforeDrop) });
      assertLanded(report, 'target-reached');
    },
  );

  describe.each(names)('%s', (name) => {
    const present = installations.some(({ major }) => major === (name === 'wale-lzo' ? 14 : 15));
    if (!present) process.stderr.write(`\n*** SKIPPED: ${name} needs a PostgreSQL that is not here ***\n\n`);

    it.skipIf(!present)('comes back as it was at two instants, and at its end only when that is asked for', async () => {
      const fixture = known.get(name)!;
      const oldPasswordFile = join(site.directory, `${name}.old`);
      await writeFileDurably(oldPasswordFile, fixture.roles.shop_owner);
      const before = await foreignFiles(directory.join(name));
      const afterAll = { kind: 'time', time: fixture.afterLastCommit } as const;
      const swap = { role: 'shop_owner', newName: 'shop_owner_again', password: { kind: 'generate' }, oldPasswordFile } as const;
      const [atA, beforeDrop, unproven, promoted] = await Promise.all([
        restore(name, 'a', { target: { kind: 'time', time: fixture.atA.now }, checks: checksOf(fixture.atA), roles: [swap] }),
        restore(name, 'b', { target: { kind: 'time', time: fixture.beforeDrop.now }, checks: checksOf(fixture.beforeDrop) }),
        restore(name, 'c', { target: afterAll }).catch((error: unknown) => error),
        restore(name, 'd', { target: afterAll, onEarlyEnd: 'promote', checks: [dropped, bigCount(fixture.beforeDrop.big + 1)] }),
      ]);
      for (const report of [atA, beforeDrop]) assertLanded(report, 'target-reached');
      expect(atA.roles).toMatchObject([{ newName: 'shop_owner_again', oldPasswordRefused: true, oldPasswordProof: 'login-attempt' }]);
      // WAL-E leaves configuration files out, as a source of Debian has none there: ours are made anew, and the report says so.
      const isConfigurationAbsent = atA.findings.some(({ text }) => text.includes('was not in the data directory of the source'));
      expect(isConfigurationAbsent).toBe(name === 'wale-lzo');
      expect(beforeDrop.firstCommitLeftOut?.xid).toBe(fixture.dropXid);
      expect(unproven).toMatchObject({ code: 'TARGET_NOT_PROVEN', message: expect.stringContaining('It is not proven to be complete') });
      assertLanded(promoted, 'ended-early-not-proven');
      expect(promoted.earlyEndDoubt).toContain('the source could not be asked');
      expect(await foreignFiles(directory.join(name))).toEqual(before);
    });
  });
});

/** Every object decompressed, under a name that ends with a dot. */
async function copyUncompressed(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const target = join(to, relative(from, path)).replace(/lz4$/, '');
    await mkdir(dirname(target), { recursive: true });
    const content = createReadStream(path);
    const isCompressed = path.endsWith('.lz4');
    const read = contentReader({ key: path, extension: isCompressed ? 'lz4' : '', cipher: undefined });
    await pipeline(content, read, createWriteStream(target));
    // The list of files names the tars as they are stored.
    if (entry.name === 'files_metadata.json') await writeFile(target, (await readFile(path, 'utf8')).replaceAll('.tar.lz4"', '.tar."'));
  }
}

function assertLanded(report: LandingReport, endReason: LandingReport['endReason']): void {
  expect(report).toMatchObject({ endReason, timeline: 2, sourceFlushed: false });
  expect(report.checks.every(({ ok }) => ok)).toBe(true);
}

const dropped: DataCheck = { sql: `SELECT to_regclass('customers')`, expected: null };

/** After the drop one row more was committed. */
function bigCount(count: number): DataCheck {
  return { sql: 'SELECT count(*) FROM big', expected: String(count) };
}

function checksOf(facts: Facts): DataCheck[] {
  const customers = `string_agg(user_id||username||email||registration_date::text, ',' ORDER BY user_id)`;
  return [
    bigCount(facts.big),
    { sql: 'SELECT count(*) FROM customers', expected: String(facts.customers) },
    { sql: `SELECT md5(string_agg(n||t, ',' ORDER BY n)) FROM big`, expected: facts.big_md5 },
    { sql: `SELECT md5(${customers}) FROM customers`, expected: facts.customers_md5 },
  ];
}

/** What the other tool wrote: a restore adds nothing but its own claims, under walkback_001/. */
async function foreignFiles(archive: string): Promise<string[]> {
  const files = await readdir(archive, { recursive: true });
  return files.filter((file) => !/^archive\/(walkback_001|\.walkback-tmp)(\/|$)/.test(file)).toSorted();
}
