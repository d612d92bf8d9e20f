/** The main job, on every PostgreSQL major of this machine: a dropped table comes back, and what we archived can be restored by other tools. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DemoSite, startDemoSite } from '../../src/demo/demo-site.ts';
import { type DemoStory, tellDemoStory } from '../../src/demo/demo-story.ts';
import { findPostgresInstallations } from '../../src/demo/local-services/find-tools.ts';
import { connectServer } from '../../src/postgres/connection.ts';
import { readObject } from '../../src/storage/object-store.ts';
import { openObjectStore } from '../../src/storage/open-object-store.ts';
import { restoreWithPlainTools, restoreWithWalG, walgExecutable, zstdExecutable } from './foreign-restore.ts';

const installations = await findPostgresInstallations(process.env);
const [walg, zstd] = await Promise.all([walgExecutable(), zstdExecutable()]);
if (walg === undefined) process.stderr.write('SKIPPED: restores by stock wal-g; set WALG_BIN or put wal-g on PATH\n');
if (zstd === undefined) process.stderr.write('SKIPPED: restores by plain tools; the programs zstd and tar are needed\n');

const storedMaximumBytes = 256 * 1024 * 1024;
/** The last of them archives encrypted. */
const keys = { WALG_LIBSODIUM_KEY: 'c0ffee00'.repeat(8), WALG_LIBSODIUM_KEY_TRANSFORM: 'hex' };
const lastMajor = installations.at(-1)?.major;
/** The bytes with which everything begins that zstd wrote. */
const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

it('covers at least three PostgreSQL majors', () => {
  expect(installations.length).toBeGreaterThanOrEqual(3);
});

describe.each(installations.map((installation) => ({ installation, major: installation.major })))(
  'PostgreSQL $major',
  ({ installation, major }) => {
    const isEncrypted = major === lastMajor;
    let site: DemoSite;
    let story: DemoStory;

    beforeAll(async () => {
      site = await startDemoSite({ installation, withUi: false, environment: isEncrypted ? keys : {} });
      story = await tellDemoStory(site, (_line, step) => step());
    });

    afterAll(async () => {
      await site[Symbol.asyncDispose]();
    });

    it('gives the five rows back as they were before the drop, and leaves the drop out', () => {
      const [first] = story.reports;
      expect(story.customers).toHaveLength(5);
      expect(story.customers.join('\n')).toContain('linus@new.example.com');
      expect(first?.report).toMatchObject({ endReason: 'target-reached', timeline: 2, lockedRoles: [] });
      const [kept, asked, leftOut] = [
        first?.report.lastCommitKept?.time,
        targetTime(first?.report.requestedTarget),
        first?.report.firstCommitLeftOut?.time,
      ];
      expect([kept! <= asked!, asked! < leftOut!]).toEqual([true, true]);
      expect(first?.report.firstCommitLeftOut?.xid).toMatch(/^\d+$/);
    });

    it('lands a restore to now of the idle source by dropping the target, with the proof', () => {
      const second = story.reports[1]?.report;
      expect(second).toMatchObject({
        endReason: 'ended-early-proven-complete',
        timeline: 2,
        firstCommitLeftOut: null,
        sourceFlushed: true,
      });
      expect(second?.earlyEndProof).toContain('by its own clock, after the target');
      expect(second?.steps.map((step) => step.name)).toContain('drop-target');
      expect(second?.postgresLog.join('\n')).toContain('recovery ended before configured recovery target was reached');
    });

    it('gives the restored clusters archives of their own and leaves that of the source alone', async () => {
      const [first] = story.reports;
      await using child = openObjectStore(first?.report.archive ?? '', site.s3.settings);
      await using source = openObjectStore(site.s3.url('shop'), site.s3.settings);
      const [childKeys, sourceKeys] = await Promise.all([keysOf(child), keysOf(source)]);
      expect(childKeys).toContain('wal_005/00000002.history.zst');
      expect(sourceKeys.filter((key) => key.startsWith('wal_005/00000002'))).toEqual([]);
      const report = childKeys.find((key) => key.startsWith('walkback_001/restores/'));
      const document = await readObject(child, report ?? '', { maximumBytes: 65_536 });
      expect(JSON.parse(document?.toString() ?? '{}')).toMatchObject({ endReason: 'target-reached' });
    });

    it('stores WAL and tars in plain text only where no key is configured', async () => {
      await using source = openObjectStore(site.s3.url('shop'), site.s3.settings);
      const stored = (await keysOf(source)).filter((key) => key.endsWith('.zst'));
      const plain = [];
      for (const key of stored) {
        const bytes = await readObject(source, key, { maximumBytes: storedMaximumBytes });
        if (bytes?.subarray(0, zstdMagic.length).equals(zstdMagic) === true) plain.push(key);
      }
      expect(plain).toEqual(isEncrypted ? [] : stored);
      expect(stored.length).toBeGreaterThan(5);
    });

    it('leaves the source as it was: running, with its role and password', async () => {
      await using connection = await connectServer({
        ...site.source.server,
        host: '127.0.0.1',
        user: 'shop_owner',
        password: story.oldPassword,
      });
      expect(await connection.queryFirstValue('SELECT pg_is_in_recovery()')).toBe('f');
    });

    it.runIf(zstd !== undefined && !isEncrypted)('A20: writes an archive that PostgreSQL restores with tar and zstd alone', async () => {
      expect(await restoreWithPlainTools(site, join(site.directory, 'plain'))).toBe('linus@new.example.com');
    });

    it.runIf(walg !== undefined)('A20: writes an archive that stock wal-g restores', async () => {
      expect(await restoreWithWalG(site, { executable: walg ?? '', dataDirectory: join(site.directory, 'walg') })).toBe(
        'linus@new.example.com',
      );
    });
  },
);

function targetTime(target: DemoStory['reports'][number]['report']['requestedTarget'] | undefined): string | undefined {
  return target?.kind === 'time' ? target.time : undefined;
}

async function keysOf(store: ReturnType<typeof openObjectStore>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}
