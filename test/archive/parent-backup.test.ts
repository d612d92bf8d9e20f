import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { type BackupStart, uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { formatNanoseconds, parseNanoseconds } from '../../src/archive/documents/files-metadata.ts';
import { ChangedBlocks } from '../../src/archive/push/changed-blocks.ts';
import { incrementBytes, incrementHeader, runsOf } from '../../src/archive/push/increment.ts';
import { changeOf } from '../../src/archive/push/page-header.ts';
import { chooseParent } from '../../src/archive/push/parent-backup.ts';
import { parseLsn } from '../../src/domain/lsn.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { makeDataDirectory, start, stopped } from './support/data-directory.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';

const next: BackupStart = { ...start, name: 'base_000000010000000000000009', startLsn: '0/9000028', startTime: '2026-11-22T11:00:00Z' };

async function archived(directory: string, changes: { readonly start?: Partial<BackupStart> } = {}): Promise<ObjectStore> {
  const source = `${directory}/source`;
  await makeDataDirectory(source);
  const { store } = await storeIn(directory);
  const options = {
    store,
    dataDirectory: source,
    compression: 'zstd',
    start: { ...start, ...changes.start },
    stop: async () => stopped,
  } as const;
  await completeBaseBackup(store, await uploadBaseBackup(options));
  return store;
}

async function choiceOf(store: ObjectStore, beginning: Partial<BackupStart> = {}, maximumChain = 6) {
  return await chooseParent(store, { start: { ...next, ...beginning }, maximumChain, signal: new AbortController().signal });
}

async function rewrite(store: ObjectStore, key: string, change: (text: string) => string): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await store.get(key))!.body as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks)
    .toString()
    .replace(/,"WalkbackSha256":"[0-9a-f]+"/, '');
  await store.put(key, Buffer.from(change(text)));
}

describe('the parent of an incremental backup', () => {
  it('is the newest backup, whose files are known by time, size and checksum', async () => {
    await using directory = await temporaryDirectory();
    const choice = await choiceOf(await archived(directory.path));
    if ('fullBecause' in choice) throw new Error(choice.fullBecause);
    expect(choice.name).toBe('base_000000010000000000000009_D_000000010000000000000005');
    expect(choice.parent.origin).toEqual({ from: start.name, fullName: start.name, startLsn: parseLsn(start.startLsn), stepCount: 1 });
    expect(choice.parent.files.find('/base/5/1259')).toMatchObject({
      sizeBytes: 3 * 1024 * 1024 + 8192,
      checksum: expect.stringMatching(/^[0-9a-f]{8}$/),
    });
    expect(choice.parent.files.find('/base/5/4711')).toBeUndefined();
  });

  it.each<readonly [string, Partial<BackupStart>, number]>([
    ['is of another cluster', { systemIdentifier: '7' }, 6],
    ['is of PostgreSQL 16', { pgVersion: 170_004 }, 6],
    ['is of timeline 1', { timeline: 2 }, 6],
    ['ended after this one began', { startLsn: '0/5000100' }, 6],
    ['0 incremental backups are on each other', {}, 0],
  ])('is none, because it %s', async (reason, beginning, maximumChain) => {
    await using directory = await temporaryDirectory();
    const store = await archived(directory.path);
    expect(await choiceOf(store, beginning, maximumChain)).toEqual({ fullBecause: expect.stringContaining(reason) });
  });

  it.each<readonly [string, string, (text: string) => string]>([
    ['is permanent', `basebackups_005/${start.name}/metadata.json`, (text) => text.replace('"is_permanent":false', '"is_permanent":true')],
    [
      'a backup that',
      `basebackups_005/${start.name}_backup_stop_sentinel.json`,
      (text) =>
        text.replace(
          '{',
          '{"DeltaFrom":"base_000000010000000000000002","DeltaFullName":"base_000000010000000000000002","DeltaLSN":1,"DeltaCount":1,',
        ),
    ],
    [
      'has no file list',
      `basebackups_005/${start.name}_backup_stop_sentinel.json`,
      (text) => text.replace('{', '{"FilesMetadataDisabled":true,'),
    ],
    [
      'holds damaged pages',
      `basebackups_005/${start.name}_backup_stop_sentinel.json`,
      (text) => text.replace('{', '{"WalkbackDamagedBlocks":2,'),
    ],
    ['has a damaged file list', `basebackups_005/${start.name}/files_metadata.json`, (text) => text.replace('1259', '1258')],
  ])('is none, because it %s', async (reason, key, change) => {
    await using directory = await temporaryDirectory();
    const store = await archived(directory.path);
    await rewrite(store, key, change);
    expect(await choiceOf(store)).toEqual({ fullBecause: expect.stringContaining(reason) });
  });

  it('is none in an empty archive, and when its file list is gone', async () => {
    await using directory = await temporaryDirectory();
    expect(await choiceOf((await storeIn(directory.path)).store)).toEqual({ fullBecause: 'the archive holds no base backup yet' });
    const store = await archived(directory.path);
    await store.delete([`basebackups_005/${start.name}/files_metadata.json`]);
    expect(await choiceOf(store)).toEqual({ fullBecause: expect.stringContaining('has no file list') });
  });
});

describe('what changed', () => {
  function page(positions: { readonly lsn: readonly [number, number]; readonly upper?: number; readonly flags?: number }): Buffer {
    const bytes = Buffer.alloc(8192);
    bytes.writeUInt32LE(positions.lsn[0], 0);
    bytes.writeUInt32LE(positions.lsn[1], 4);
    bytes.writeUInt16LE(positions.flags ?? 0, 10);
    bytes.writeUInt16LE(24, 12);
    bytes.writeUInt16LE(positions.upper ?? 8000, 14);
    bytes.writeUInt16LE(8192, 16);
    bytes.writeUInt16LE(8192 | 4, 18);
    return bytes;
  }

  it('changeOf goes by the position in the header, and knows what is no page', () => {
    const since = parseLsn('1/5000028');
    expect(changeOf(page({ lsn: [1, 0x5000027] }), since)).toBe('unchanged');
    expect(changeOf(page({ lsn: [0, 0xffffffff] }), since)).toBe('unchanged');
    expect(changeOf(page({ lsn: [1, 0x5000028] }), since)).toBe('changed');
    expect(changeOf(page({ lsn: [2, 0] }), since)).toBe('changed');
    expect(changeOf(page({ lsn: [0, 1], upper: 0 }), since)).toBe('changed');
    expect(changeOf(page({ lsn: [9, 1], flags: 0x80 }), since)).toBe('no-page');
  });

  it('ChangedBlocks knows the blocks of each file, relations that were cut, and databases that were copied', () => {
    const changed = new ChangedBlocks();
    const relation = { tablespace: 1663, database: 5, relation: 16384, isLimit: false };
    for (const block of [3, 131_073, 131_080, 3]) changed.add({ ...relation, block });
    changed.add({ ...relation, relation: 16_390, block: 10, isLimit: true });
    changed.add({ ...relation, tablespace: 16_399, database: 7, relation: 0, block: 0, isLimit: true });
    expect(changed.within('/base/5/16384', { firstBlock: 0, blockCount: 131_072 })).toEqual(Uint32Array.of(3));
    expect(changed.within('/base/5/16384.1', { firstBlock: 131_072, blockCount: 9 })).toEqual(Uint32Array.of(1, 8));
    expect(changed.within('/base/5/16385', { firstBlock: 0, blockCount: 9 })).toEqual(Uint32Array.of());
    expect(changed.within('/base/5/16390', { firstBlock: 0, blockCount: 12 })).toEqual(Uint32Array.of(10, 11));
    expect(changed.within('/base/5/16390.1', { firstBlock: 131_072, blockCount: 1 })).toBe('all');
    expect(changed.within('/pg_tblspc/16399/PG_18_202506291/7/1', { firstBlock: 0, blockCount: 1 })).toBe('all');
  });

  it('an increment begins with its magic, the size of the file and the blocks, and is read in runs', () => {
    const increment = { fileBytes: 81_920, blocks: Uint32Array.of(1, 2, 3, 7), blockBytes: 8192, known: undefined };
    const header = incrementHeader(increment);
    expect(header.toString('hex')).toBe(['77693155', '0040010000000000', '04000000', '01000000020000000300000007000000'].join(''));
    expect(incrementBytes(increment)).toBe(header.length + 4 * 8192);
    expect([...runsOf(increment.blocks, 2)]).toEqual([
      { first: 1, length: 2 },
      { first: 3, length: 1 },
      { first: 7, length: 1 },
    ]);
  });

  it('parseNanoseconds reads what formatNanoseconds and WAL-G write', () => {
    expect(parseNanoseconds('2026-08-21T20:00:01.123456789+02:00')).toBe(parseNanoseconds('2026-08-21T18:00:01.123456789Z'));
    for (const ns of [0n, 1n, 1_755_806_401_123_456_700n]) expect(parseNanoseconds(formatNanoseconds(ns))).toBe(ns);
    expect(() => parseNanoseconds('yesterday')).toThrow(SyntaxError);
  });
});
