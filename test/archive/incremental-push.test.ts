/** An incremental backup reads files to find what changed in them: shortly before they are stored, since what was found is remembered until then. */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { completeBaseBackup } from '../../src/archive/base-backup-completion.ts';
import { fetchBaseBackup } from '../../src/archive/base-backup-fetch.ts';
import { uploadBaseBackup } from '../../src/archive/base-backup-push.ts';
import { chooseParent } from '../../src/archive/push/parent-backup.ts';
import { start, stopped, writeTree } from './support/data-directory.ts';
import { storeIn, temporaryDirectory, watched } from './support/temporary.ts';

const blockBytes = 8192;
const fileCount = 300;
const names = Array.from({ length: fileCount }, (_, index) => `base/5/${20_000 + index}`);
const pages = { blockBytes, segmentBlocks: 131_072, hasChecksums: false } as const;
const next = { ...start, name: 'base_000000010000000000000009', startLsn: '0/9000028', startTime: '2026-11-22T11:00:00Z' };
const [beforeParent, afterParent] = [0x100, 0x6_00_00_00];

/** A page that was changed at a position below 4 GiB of WAL. */
function page(lsn: number): Buffer {
  const bytes = Buffer.alloc(blockBytes);
  bytes.writeUInt32LE(lsn, 4);
  for (const [offset, value] of [
    [12, 24],
    [14, 8000],
    [16, 8192],
    [18, 8192 | 4],
  ] as const)
    bytes.writeUInt16LE(value, offset);
  return bytes;
}

it('files are read for what changed only shortly before they are stored', async () => {
  await using directory = await temporaryDirectory();
  const [source, into] = [join(directory.path, 'source'), join(directory.path, 'target')];
  const write = (first: number, second: number): void => {
    for (const name of names) writeFileSync(join(source, name), Buffer.concat([page(first), page(second)]));
  };
  await writeTree(source, {
    PG_VERSION: Buffer.from('16\n'),
    'global/pg_control': Buffer.alloc(blockBytes),
    'base/5/PG_VERSION': Buffer.from('16\n'),
  });
  await mkdir(join(source, 'pg_wal'));
  write(beforeParent, beforeParent);
  const { store } = await storeIn(directory.path);
  const options = { store, dataDirectory: source, compression: 'none', stop: async () => stopped, pages, concurrency: 1 } as const;
  await completeBaseBackup(store, await uploadBaseBackup({ ...options, start }));

  write(afterParent, beforeParent);
  for (const name of names) await utimes(join(source, name), new Date(), new Date());
  const choice = await chooseParent(store, { start: next, maximumChain: 6, signal: new AbortController().signal });
  if ('fullBecause' in choice) throw new Error(choice.fullBecause);
  let isFirst = true;
  const storing = watched(store, (operation, key) => {
    if (operation !== 'upload' || !isFirst || !key.includes('part_')) return;
    isFirst = false;
    write(afterParent, afterParent);
  });
  const incremental = {
    ...options,
    store: storing,
    start: { ...next, name: choice.name },
    parent: choice.parent,
    partBytes: 8 * blockBytes,
  };
  await completeBaseBackup(store, await uploadBaseBackup(incremental));

  await fetchBaseBackup({ store, backup: choice.name, into, stateDirectory: join(directory.path, 'state') });
  const restored = names.map((name) => readFileSync(join(into, name)).readUInt32LE(blockBytes + 4));
  expect(isFirst).toBe(false);
  // 64 are looked at ahead, and a part has eight.
  expect(restored.filter((lsn) => lsn === beforeParent).length).toBeLessThan(100);
});
