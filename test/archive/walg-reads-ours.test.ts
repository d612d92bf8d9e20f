/** What stock wal-g does with an archive of ours. The tables in docs/archive-format.md are made of the outcomes here, and compared with them. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { type BackupStart, uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { listBaseBackups } from '../../src/archive/catalog.ts';
import type { Compression } from '../../src/archive/compression.ts';
import { openObjectCipher } from '../../src/archive/encryption.ts';
import { type KeyTransform, libsodiumKey } from '../../src/archive/encryption/libsodium-key.ts';
import { chooseParent } from '../../src/archive/push/parent-backup.ts';
import { createWalArchive } from '../../src/archive/wal-archive.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';
import { runWalG, walG } from '../harness/wal-g.ts';
import {
  addTablespace,
  contentsOf,
  controlFile,
  keptFiles,
  makeDataDirectory,
  start,
  stopped,
  writeTree,
} from './support/data-directory.ts';
import { noKeys, sodiumKeys } from './support/keys.ts';
import { keysOf, storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';

/** A way to write. */
interface Variant {
  readonly compression: Compression;
  readonly transform?: KeyTransform;
  readonly hasTablespace?: boolean;
}

const variants: readonly Variant[] = [
  { compression: 'zstd' },
  { compression: 'lz4' },
  { compression: 'brotli' },
  { compression: 'none' },
  { compression: 'zstd', transform: 'hex' },
  { compression: 'lz4', transform: 'base64' },
  { compression: 'brotli', transform: 'none' },
  { compression: 'none', transform: 'hex' },
  { compression: 'zstd', hasTablespace: true },
  { compression: 'zstd', transform: 'hex', hasTablespace: true },
];

function titleOf({ compression, transform, hasTablespace }: Variant): string {
  const key = transform === undefined ? '' : `, libsodium with ${transform === 'none' ? 'a text' : transform} as key`;
  return `${compression}${key}${hasTablespace === true ? ', with a tablespace' : ''}`;
}

/** Rows of the two tables, as they come out. */
const restores: string[] = [];
const commands: string[] = [];

describe.skipIf(walG === undefined)('stock wal-g restores what walkback wrote', () => {
  it.each(variants.map((variant) => ({ variant, title: titleOf(variant) })))('$title', async ({ variant, title }) => {
    await using directory = await temporaryDirectory();
    const { compression, hasTablespace = false } = variant;
    const { cipher, environment } = await encryptionOf(variant);
    const source = join(directory.path, 'source');
    const location = join(directory.path, 'tablespace');
    await makeDataDirectory(source);
    if (hasTablespace) await addTablespace(source, location);
    const { store, root } = await storeIn(directory.path);
    const options = { store, dataDirectory: source, compression, cipher, partBytes: 512 * 1024, start, stop: async () => stopped };
    await completeBaseBackup(store, await uploadBaseBackup(options));
    const kept = join(directory.path, 'kept');
    await rename(source, kept);
    if (hasTablespace) await rename(location, join(directory.path, 'kept-tablespace'));
    // WAL-G restores a tablespace to the place where the source had it, and only into the directory of the source.
    await runWalG(root, ['backup-fetch', source, start.name], environment);
    const [contents, original] = [await contentsOf(source), await contentsOf(kept)];
    for (const name of [...Object.keys(keptFiles), 'base/5/sparse', 'global/pg_control']) expect(contents[name]).toBe(original[name]);
    expect(await readFile(join(source, 'backup_label'), 'utf8')).toBe(stopped.labelFile);
    for (const name of hasTablespace ? ['PG_16_202307071/5/16400'] : []) {
      const expected = await readFile(join(directory.path, 'kept-tablespace', name));
      expect((await readFile(join(location, name))).equals(expected)).toBe(true);
    }
    await assertWalFetched({ store, root, directory: directory.path, compression, cipher, environment });
    restores.push(`| ${title} | the same files | the same bytes |`);
  });
});

/** The same key, for us and for wal-g. */
interface Encryption {
  readonly cipher: Awaited<ReturnType<typeof openObjectCipher>>;
  readonly environment: Readonly<Record<string, string>>;
}

async function encryptionOf({ transform }: Variant): Promise<Encryption> {
  if (transform === undefined) return { cipher: undefined, environment: {} };
  const text = sodiumKeys[transform];
  const cipher = await openObjectCipher({ ...noKeys, libsodium: { key: libsodiumKey(text, transform) } });
  return { cipher, environment: { WALG_LIBSODIUM_KEY: text, WALG_LIBSODIUM_KEY_TRANSFORM: transform } };
}

interface WalScene extends Encryption {
  readonly store: ObjectStore;
  readonly root: string;
  readonly directory: string;
  readonly compression: Compression;
}

async function assertWalFetched(scene: WalScene): Promise<void> {
  const { store, root, directory } = scene;
  const archive = createWalArchive(store, { ...scene, segmentBytes });
  const files = {
    '000000010000000000000003': walSegment({ name: '000000010000000000000003' }),
    '00000002.history': Buffer.from('1\t0/3000000\tx\n'),
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(directory, name), content);
    await archive.push({ path: join(directory, name), name, systemIdentifier });
    const fetched = join(directory, `${name}.fetched`);
    const environment = { ...scene.environment, WALG_DOWNLOAD_CONCURRENCY: '1', WALG_PG_WAL_SIZE: '1' };
    await runWalG(root, ['wal-fetch', name, fetched], environment);
    expect((await readFile(fetched)).equals(content)).toBe(true);
  }
}

/** Backups that start in these segments of 1 MiB, with all WAL in between and some behind. */
const backupNumbers = [5, 7, 9];
const lastSegmentNumber = 10;

function segmentName(number: number): string {
  return `00000001${number.toString(16).toUpperCase().padStart(16, '0')}`;
}

function startOf(number: number): BackupStart {
  return {
    ...start,
    name: `base_${segmentName(number)}`,
    startLsn: `0/${(number * segmentBytes + 0x28).toString(16).toUpperCase()}`,
    startTime: `2026-11-22T1${number}:00:00Z`,
    walSegmentBytes: segmentBytes,
  };
}

async function archiveWithThreeBackups(directory: string): Promise<{ readonly store: ObjectStore; readonly root: string }> {
  const { store, root } = await storeIn(directory);
  const source = join(directory, 'source');
  await writeTree(source, { PG_VERSION: Buffer.from('16\n'), 'global/pg_control': Buffer.alloc(8192) });
  const archive = createWalArchive(store, { compression: 'zstd', segmentBytes });
  for (let number = 4; number <= lastSegmentNumber; number += 1) {
    const name = segmentName(number);
    await writeFile(join(directory, name), walSegment({ name }));
    await archive.push({ path: join(directory, name), name, systemIdentifier });
  }
  for (const number of backupNumbers) {
    const finishLsn = `0/${(number * segmentBytes + 0x138).toString(16).toUpperCase()}`;
    const stop = async () => ({ ...stopped, finishLsn, finishTime: `2026-11-22T1${number}:00:07Z` });
    const start = startOf(number);
    await completeBaseBackup(store, await uploadBaseBackup({ store, dataDirectory: source, compression: 'zstd', start, stop }));
  }
  return { store, root };
}

/** A page of a relation as PostgreSQL makes it, last changed at the position (src/include/storage/bufpage.h, PageHeaderData). */
function relationPage(position: number, fill: number): Buffer {
  const page = Buffer.alloc(8192, fill);
  page.fill(0, 0, 24);
  page.writeUInt32LE(position, 4);
  for (const [offset, value] of [24, 8192, 8192, 8192 | 4].entries()) page.writeUInt16LE(value, 12 + offset * 2);
  return page;
}

describe.skipIf(walG === undefined)('stock wal-g restores incremental backups of ours', () => {
  it.each([undefined, 'hex'] as const)('on a full one, with a libsodium key in %s', async (transform) => {
    await using directory = await temporaryDirectory();
    const { cipher, environment } = await encryptionOf({ compression: 'zstd', ...(transform === undefined ? {} : { transform }) });
    const source = join(directory.path, 'source');
    const old = Array.from({ length: 6 }, (_, index) => relationPage(0x100, index + 1));
    await writeTree(source, { PG_VERSION: Buffer.from('16\n'), 'global/pg_control': controlFile, 'base/5/16385': Buffer.concat(old) });
    const { store, root } = await storeIn(directory.path);
    const pages = { blockBytes: 8192, segmentBlocks: 131_072, hasChecksums: false };
    const options = { store, dataDirectory: source, compression: 'zstd', cipher, pages, stop: async () => stopped } as const;
    const stop = async () => ({ ...stopped, finishLsn: '0/500138' });
    await completeBaseBackup(store, await uploadBaseBackup({ ...options, start: startOf(5), stop }));
    const changed = [...old.slice(0, 3), relationPage(0x600000, 9), ...old.slice(4), relationPage(0x600100, 10)];
    await writeTree(source, { 'base/5/16385': Buffer.concat(changed), 'base/5/16386': relationPage(0x600200, 11) });
    const choice = await chooseParent(store, { start: startOf(7), maximumChain: 1, cipher, signal: new AbortController().signal });
    if ('fullBecause' in choice) throw new Error(choice.fullBecause);
    const start = { ...startOf(7), name: choice.name };
    const uploaded = await uploadBaseBackup({ ...options, start, parent: choice.parent });
    await completeBaseBackup(store, uploaded);
    const list = await readFile(join(root, `basebackups_005/${choice.name}/files_metadata.json`), 'utf8');
    expect(JSON.parse(list)).toMatchObject({ Files: { '/base/5/16385': { IsIncremented: true } } });
    const target = join(directory.path, 'target');
    await runWalG(root, ['backup-fetch', target, choice.name], environment);
    const [contents, original] = [await contentsOf(target), await contentsOf(source)];
    for (const name of Object.keys(original)) expect(contents[name]).toBe(original[name]);
    restores.push(
      `| zstd${transform === undefined ? '' : ', libsodium with hex as key'}, an incremental backup on a full one | the same files | – |`,
    );
  });
});

describe.skipIf(walG === undefined)("stock wal-g's own commands", () => {
  it('list, verify, mark and delete in an archive of ours, and we read what is left', async () => {
    await using directory = await temporaryDirectory();
    const { store, root } = await archiveWithThreeBackups(directory.path);
    const [first, second, third] = backupNumbers.map((number) => `base_${segmentName(number)}`) as [string, string, string];
    const run = async (command: string) => runWalG(root, command.split(' '), { WALG_PG_WAL_SIZE: '1' });
    const report = (command: string, outcome: string) => commands.push(`| \`wal-g ${command}\` | ${outcome} |`);

    const listed = JSON.parse(await run('backup-list --detail --json')) as { backup_name: string; finish_lsn: number }[];
    expect(listed.map((backup) => backup.backup_name)).toEqual([first, second, third]);
    expect(listed[0]?.finish_lsn).toBe(5 * segmentBytes + 0x138);
    report('backup-list --detail', 'all backups, with times and positions');

    const verified = JSON.parse(await run('wal-verify integrity timeline --timeline 1 --lsn 0/B00028 --json'));
    expect(verified).toMatchObject({ integrity: { status: 'OK' }, timeline: { status: 'OK' } });
    report('wal-verify integrity timeline', 'both OK');

    const shown = JSON.parse(await run('wal-show --detailed-json'));
    expect(shown).toMatchObject([{ id: 1, status: 'OK', segments_count: 7, missing_segments: [] }]);
    const among = (shown as { backups: { backup_name: string }[] }[])[0]?.backups.map((backup) => backup.backup_name);
    expect(among?.toSorted()).toEqual([first, second, third]);
    report('wal-show', 'OK: the segments, and the backups among them');

    await run(`backup-mark ${first}`);
    const marked = (await listBaseBackups(store)).backups.map(({ name, isPermanent }) => [name, isPermanent]);
    expect(marked).toEqual([
      [first, true],
      [second, false],
      [third, false],
    ]);
    report('backup-mark', 'the backup is permanent for us too');

    await run('delete retain FULL 1 --confirm');
    const left = await listBaseBackups(store);
    expect(left.damaged).toEqual([]);
    expect(left.backups.map(({ name }) => name)).toEqual([first, third]);
    const keys = await keysOf(store, '');
    expect(keys.filter((key) => key.includes(second.slice('base_'.length)))).toEqual([]);
    expect(keys.filter((key) => key.startsWith('wal_005/'))).toEqual([5, 9, 10].map((number) => `wal_005/${segmentName(number)}.zst`));
    for (const backup of [first, third]) {
      const into = join(directory.path, backup);
      await mkdir(into, { mode: 0o700 });
      await fetchBaseBackup({ store, backup, into, stateDirectory: join(into, 'walkback_restore') });
      expect(await readFile(join(into, 'PG_VERSION'), 'utf8')).toBe('16\n');
    }
    report('delete retain FULL 1', 'the last backup and the permanent one are left, with their WAL, and are restored by us');
  });
});

describe.skipIf(walG === undefined)('docs/archive-format.md', () => {
  it('holds the tables of what stock wal-g did', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/archive-format.md'), 'utf8');
    const made = [
      '<!-- made of the outcomes of test/archive/walg-reads-ours.test.ts -->',
      '| written by walkback | `wal-g backup-fetch` brings | `wal-g wal-fetch` brings |',
      '| --- | --- | --- |',
      ...restores,
      '',
      '| command on an archive of ours | outcome |',
      '| --- | --- |',
      ...commands,
      '<!-- end -->',
    ].join('\n');
    const committed = /<!-- made of the outcomes of [\s\S]*?<!-- end -->/.exec(page)?.[0];
    expect(committed).toBe(made);
  });
});
