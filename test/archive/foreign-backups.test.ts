import { access, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { withWholeChains } from '../../src/archive/chain-listing.ts';
import { listBaseBackups, readBaseBackup } from '../../src/archive/catalog.ts';
import { codecs } from '../../src/archive/compression.ts';
import { parseBackupHistory } from '../../src/archive/documents/backup-history.ts';
import { openObjectCipher } from '../../src/archive/encryption.ts';
import { storedForm } from '../../src/archive/object-content.ts';
import { tarOfContents } from '../../src/archive/push/tar-of-contents.ts';
import { WalkbackError } from '../../src/domain/errors.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { controlFile } from './support/data-directory.ts';
import { storeIn, temporaryDirectory, watched } from './support/temporary.ts';
import { systemIdentifier, walSegment } from './support/wal.ts';

/** Segments of 1 MiB: number 0x11 begins at 0/1100000. */
const segment = '000000010000000000000011';
const historyName = `${segment}.00000028.backup`;
const walE = `base_${segment}_00000040`;
const label = `START WAL LOCATION: 0/1100028 (file ${segment})\nSTART TIME: 2026-11-23 08:05:38 UTC\nLABEL: x\n`;
const history = `START WAL LOCATION: 0/1100028 (file ${segment})
STOP WAL LOCATION: 0/1200100 (file 000000010000000000000012)
CHECKPOINT LOCATION: 0/1100060
START TIME: 2026-11-23 08:05:38 UTC
LABEL: freeze_start_2026-11-23T08:05:38.442608+00:00
STOP TIME: 2026-11-23 08:05:41 UTC
`;
const walESentinel = {
  wal_segment_backup_stop: '000000010000000000000012',
  wal_segment_offset_backup_stop: '00000256',
  expanded_size_bytes: 4711,
  spec: { base_prefix: '/data/', tablespaces: ['16399'], 16399: { loc: '/mnt/ts/', link: 'pg_tblspc/16399' } },
};

function sentinelKeyOf(name: string): string {
  return `basebackups_005/${name}_backup_stop_sentinel.json`;
}

function partKey(number: number): string {
  return `basebackups_005/${walE}/tar_partitions/part_0000000${number}.tar`;
}

/** A backup as WAL-E lays it out, uncompressed: pg_control in the first of two parts, no member with a leading slash. */
async function putWalEBackup(store: ObjectStore, changes: { readonly label?: string; readonly control?: Buffer } = {}): Promise<void> {
  await store.put(sentinelKeyOf(walE), Buffer.from(JSON.stringify(walESentinel)));
  await store.put(`basebackups_005/${walE}/extended_version.txt`, Buffer.from('PostgreSQL 14.23 on x86_64-pc-linux-gnu, compiled by gcc'));
  const first = { 'global/pg_control': changes.control ?? controlFile, backup_label: Buffer.from(changes.label ?? label) };
  await store.put(partKey(0), tarOfContents(first));
  await store.put(
    partKey(1),
    tarOfContents({ PG_VERSION: Buffer.from('14\n'), 'pg_tblspc/16399/PG_14_202107181/5/1': Buffer.from('row') }),
  );
  await putWal(store);
}

async function putWal(store: ObjectStore): Promise<void> {
  await store.put(`wal_005/${segment}`, walSegment({ name: segment }));
  await store.put(`wal_005/${historyName}`, Buffer.from(history));
}

describe('the catalogue of a WAL-E archive', () => {
  it('knows start, end, times and version from name, sentinel, backup history file and extended_version.txt', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWalEBackup(store);
    const { backups, damaged } = await listBaseBackups(store);
    expect(damaged).toEqual([]);
    expect(backups).toMatchObject([
      {
        name: walE,
        timeline: 1,
        startSegment: segment,
        startLsn: '0/1100028',
        finishLsn: '0/1200100',
        startTime: '2026-11-23T08:05:38.000000Z',
        finishTime: '2026-11-23T08:05:41.999999Z',
        pgVersion: 140023,
        systemIdentifier: systemIdentifier,
        uncompressedBytes: 4711,
        deltaFrom: undefined,
      },
    ]);
    expect(backups[0]?.compressedBytes).toBeGreaterThan(controlFile.length);
  });

  it('calls a backup unusable whose end nothing tells, or whose history is of another backup', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWalEBackup(store);
    await store.put(`wal_005/${historyName}`, Buffer.from(history.replace('0/1100028', '0/1100060')));
    await expect(readBaseBackup(store, walE)).rejects.toMatchObject({ code: 'OBJECT_DAMAGED' });
    await store.delete([`wal_005/${historyName}`]);
    const { backups, damaged } = await listBaseBackups(store);
    expect(backups).toEqual([]);
    expect(damaged).toMatchObject([
      { name: walE, code: 'ARCHIVE_FORMAT_UNSUPPORTED', reason: expect.stringContaining(`wal_005/${historyName} is not in the archive`) },
    ]);
  });

  it('reads the history of an encrypted archive with its key', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWalEBackup(store);
    const settings = { encryption: undefined, libsodium: { key: Buffer.alloc(32, 3) }, openPgp: undefined, foreignSetting: undefined };
    const cipher = await openObjectCipher(settings);
    for (const [key, content] of [
      [`wal_005/${segment}`, walSegment({ name: segment })],
      [`wal_005/${historyName}`, Buffer.from(history)],
    ] as const) {
      const stored: Buffer[] = [];
      for await (const chunk of storedForm([content], { codec: codecs.none, cipher })) stored.push(chunk);
      await store.put(key, Buffer.concat(stored));
    }
    expect((await listBaseBackups(store, { cipher })).backups).toMatchObject([{ name: walE, pgVersion: 140023 }]);
    expect((await listBaseBackups(store)).damaged).toHaveLength(1);
  });
});

describe('the catalogue of an old WAL-G archive', () => {
  it('does without metadata.json when the sentinel says everything', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const sentinel = {
      LSN: 0x1100028,
      FinishLSN: 0x1200100,
      PgVersion: 150018,
      Version: 2,
      StartTime: '2026-08-21T20:02:35.123457Z',
      FinishTime: '2026-08-21T20:02:41.5Z',
      Hostname: 'db1',
      DataDir: '/data',
      IsPermanent: true,
    };
    const name = `base_${segment}`;
    await store.put(sentinelKeyOf(name), Buffer.from(JSON.stringify(sentinel)));
    expect((await listBaseBackups(store)).backups).toMatchObject([
      { name, startLsn: '0/1100028', finishTime: '2026-08-21T20:02:41.5Z', hostname: 'db1', dataDirectory: '/data', isPermanent: true },
    ]);
  });

  it('takes the times of a backup of WAL-G 1 from the backup history file, deltas included', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWal(store);
    const name = `base_${segment}_D_000000010000000000000005`;
    const delta = {
      DeltaFrom: 'base_000000010000000000000005',
      DeltaFullName: 'base_000000010000000000000005',
      DeltaFromLSN: 5,
      DeltaCount: 1,
    };
    const files = { Files: { '/base/1/1': { IsIncremented: true, IsSkipped: false, MTime: '2026-08-21T20:00:01Z' } }, TarFileSets: {} };
    const sentinel = { LSN: 0x1100028, FinishLSN: 0x1200100, PgVersion: 140005, ...delta, ...files };
    await store.put(sentinelKeyOf(name), Buffer.from(JSON.stringify(sentinel)));
    const facts = { name, finishTime: '2026-11-23T08:05:41.999999Z', pgVersion: 140005, systemIdentifier, deltaFrom: delta.DeltaFrom };
    expect(await readBaseBackup(store, name)).toMatchObject(facts);
    expect(withWholeChains((await listBaseBackups(store)).backups)).toEqual([]);
  });
});

describe('parseBackupHistory', () => {
  const at = (startTime: string, label = 'x') =>
    parseBackupHistory(`START WAL LOCATION: 0/28 (file ${segment})\nSTART TIME: ${startTime}\nLABEL: ${label}\n`).startTime;

  it('parseBackupHistory reads times in UTC and with digits for an offset', () => {
    expect(at('2026-11-23 08:05:38 UTC')).toBe('2026-11-23T08:05:38.000000Z');
    expect(at('2026-11-23 08:05:38 GMT')).toBe('2026-11-23T08:05:38.000000Z');
    expect(at('2026-11-23 05:05:38 -03')).toBe('2026-11-23T08:05:38.000000Z');
    expect(at('2026-11-23 13:50:38 +0545')).toBe('2026-11-23T08:05:38.000000Z');
  });

  it('parseBackupHistory tells the offset of an abbreviation from the time in the label, and never guesses it', () => {
    expect(at('2026-11-23 03:05:38 CST', 'freeze_start_2026-11-23T09:05:37.9+00:00')).toBe('2026-11-23T09:05:38.000000Z');
    expect(at('2026-11-23 17:05:38 CST', '2026-11-23 09:05:37.912 +0000 UTC m=+0.1')).toBe('2026-11-23T09:05:38.000000Z');
    expect(() => at('2026-11-23 03:05:38 CST')).toThrow('whose offset cannot be told');
    expect(() => at('never')).toThrow('START TIME');
  });
});

describe('fetchBaseBackup of a backup of WAL-E', () => {
  const place = (directory: string) => {
    const into = join(directory, 'target');
    return { into, stateDirectory: join(into, 'walkback_restore'), backup: walE };
  };

  it('puts pg_control in place after everything else, also when the first try was interrupted', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWalEBackup(store);
    const options = place(directory.path);
    const refusing = watched(store, (operation, key) => {
      if (operation === 'get' && key === partKey(1)) throw new WalkbackError('STORAGE_ACCESS_DENIED', 'not this one');
    });
    await expect(fetchBaseBackup({ ...options, store: refusing, concurrency: 1 })).rejects.toMatchObject({ code: 'STORAGE_ACCESS_DENIED' });
    await expect(access(join(options.into, 'global/pg_control'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await fetchBaseBackup({ ...options, store })).toMatchObject({ parts: 2, partsAlreadyFetched: 1 });
    expect((await readFile(join(options.into, 'global/pg_control'))).equals(controlFile)).toBe(true);
    expect(await readFile(join(options.into, 'backup_label'), 'utf8')).toBe(label);
    expect(await readFile(join(options.into, 'walkback_tablespaces/16399/PG_14_202107181/5/1'), 'utf8')).toBe('row');
    expect(await readFile(join(options.into, 'tablespace_map'), 'utf8')).toBe(`16399 ${options.into}/walkback_tablespaces/16399\n`);
  });

  it('refuses a backup whose parts hold no pg_control, or the label of another backup', async () => {
    await using directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    await putWalEBackup(store, { label: label.replaceAll(segment, '000000010000000000000010') });
    const damaged = { code: 'OBJECT_DAMAGED', facts: { key: `basebackups_005/${walE}/tar_partitions/` } };
    await expect(fetchBaseBackup({ ...place(directory.path), store })).rejects.toMatchObject(damaged);
    await mkdir(join(directory.path, 'second'));
    await store.put(partKey(0), tarOfContents({ backup_label: Buffer.from(label) }));
    await expect(fetchBaseBackup({ ...place(join(directory.path, 'second')), store })).rejects.toMatchObject(damaged);
  });
});
