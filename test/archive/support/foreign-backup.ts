/** Base backups as WAL-G writes them, made by hand: whatever a test wants in them, right or wrong. */
import { zstdCompressSync } from 'node:zlib';
import { tarOfContents } from '../../../src/archive/push/tar-of-contents.ts';
import type { ObjectStore } from '../../../src/storage/object-store.ts';

export const blockBytes = 8192;

export interface ForeignBackup {
  readonly name: string;
  /** Members beyond `Version` and `LSN`. */
  readonly sentinel: Readonly<Record<string, unknown>>;
  /** Members of each tar, by the tar's name without extension; pg_control.tar is added when it is not there. */
  readonly tars: Readonly<Record<string, Readonly<Record<string, Buffer>>>>;
  /** Marks of the files that differ from "whole, in this backup"; undefined: there is no files_metadata.json. */
  readonly files: Readonly<Record<string, { IsIncremented?: boolean; IsSkipped?: boolean }>> | undefined;
  /** Default: as the tars are. */
  readonly tarFileSets?: Readonly<Record<string, readonly string[]>>;
}

/** Puts all objects of the backup into the store. */
export async function putForeignBackup(store: ObjectStore, backup: ForeignBackup): Promise<void> {
  const prefix = `basebackups_005/${backup.name}/`;
  const tars = { 'pg_control.tar': { '/global/pg_control': Buffer.from(`control of ${backup.name}`) }, ...backup.tars };
  for (const [name, members] of Object.entries(tars))
    await store.put(`${prefix}tar_partitions/${name}.zst`, zstdCompressSync(tarOfContents(members)));
  if (backup.files !== undefined) {
    const tarFileSets = backup.tarFileSets ?? tarFileSetsOf(backup);
    await store.put(`${prefix}files_metadata.json`, Buffer.from(JSON.stringify({ Files: listOf(backup), TarFileSets: tarFileSets })));
  }
  const sentinel = { LSN: 1, Version: 2, ...backup.sentinel };
  await store.put(`basebackups_005/${backup.name}_backup_stop_sentinel.json`, Buffer.from(JSON.stringify(sentinel)));
}

/** `Files` as WAL-G writes it. */
export function listOf({ tars, files }: Pick<ForeignBackup, 'tars' | 'files'>): Readonly<Record<string, unknown>> {
  const names = new Set([...Object.values(tars).flatMap((members) => Object.keys(members)), ...Object.keys(files ?? {})]);
  const listed = [...names].filter((name) => name.startsWith('/'));
  const whole = { IsIncremented: false, IsSkipped: false, MTime: '2026-08-21T20:00:01.123456789+02:00', UpdatesCount: 0 };
  return Object.fromEntries(listed.map((name) => [name, { ...whole, ...files?.[name] }]));
}

export function tarFileSetsOf({ tars }: Pick<ForeignBackup, 'tars'>): Readonly<Record<string, readonly string[]>> {
  const parts = Object.entries(tars).filter(([name]) => name !== 'pg_control.tar');
  return Object.fromEntries(parts.map(([name, members]) => [`${name}.zst`, Object.keys(members)]));
}

/** Changed pages of a file (walg-format: 6.2), by block number. */
export function increment(fileBytes: number, pages: Readonly<Record<number, Buffer>>, options: { readonly extra?: Buffer } = {}): Buffer {
  const blocks = Object.keys(pages).map(Number);
  const header = Buffer.alloc(16 + 4 * blocks.length);
  header.write('wi1U', 'latin1');
  header.writeBigUInt64LE(BigInt(fileBytes), 4);
  header.writeUInt32LE(blocks.length, 12);
  for (const [index, block] of blocks.entries()) header.writeUInt32LE(block, 16 + 4 * index);
  return Buffer.concat([header, ...blocks.map((block) => pages[block] ?? Buffer.alloc(blockBytes)), options.extra ?? Buffer.alloc(0)]);
}

/** A page filled with one letter. */
export function page(letter: string): Buffer {
  return Buffer.alloc(blockBytes, letter);
}

/** A file of such pages. */
export function pages(letters: string): Buffer {
  return Buffer.concat(Array.from(letters, page));
}
