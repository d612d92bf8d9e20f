/** The objects that a deep verification reads, in the order of their keys: so that a later attempt can go on behind the last key. */
import { type BaseBackup } from '../../domain/base-backup.ts';
import { isNeeded, type WalIntegrity } from '../../domain/wal-integrity.ts';
import { walFileKind } from '../../domain/wal-segment.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { listBackupFolders } from '../backup-folders.ts';
import { parseWalKey, tarPartitionsPrefix, walPrefix } from '../layout.ts';
import type { Expected } from './backup-objects.ts';
import type { ReadItem } from './object-reading.ts';

/** What is to be read. */
export interface ReadScope {
  readonly store: ObjectStore;
  readonly backups: ReadonlyMap<string, BaseBackup>;
  /** The manifest of a backup. */
  readonly expectedOf: (backup: string) => Promise<Expected>;
  readonly integrity: WalIntegrity;
  /** Keys up to this one, it included, were read before. */
  readonly after: string;
  readonly signal: AbortSignal;
}

/** Tars and file lists of every backup, WAL that a backup needs, and all history files. */
export async function* listReadItems(scope: ReadScope): AsyncGenerator<ReadItem> {
  for await (const item of backupItems(scope)) if (item.key > scope.after) yield item;
  for await (const item of walItems(scope)) if (item.key > scope.after) yield item;
}

async function* backupItems({ store, backups, expectedOf, after, signal }: ReadScope): AsyncGenerator<ReadItem> {
  for await (const { backup, objects } of listBackupFolders(store, signal)) {
    const lastKey = objects.at(-1)?.key ?? '';
    if (!backups.has(backup) || lastKey <= after) continue;
    const expected = await expectedOf(backup);
    const tars = tarPartitionsPrefix(backup);
    for (const { key, sizeBytes } of objects) {
      const isOfBackup = expected === undefined ? key.startsWith(tars) : expected.has(key);
      if (isOfBackup) yield { kind: 'backup-object', key, sizeBytes, backup, expected: expected?.get(key) };
    }
  }
}

async function* walItems({ store, integrity, signal }: ReadScope): AsyncGenerator<ReadItem> {
  for await (const { key, sizeBytes } of store.list(walPrefix, { shallow: true, signal })) {
    const name = parseWalKey(key)?.name;
    if (name === undefined) continue;
    const kind = walFileKind(name);
    if (kind === 'history' || (kind === 'segment' && isNeeded(integrity, name))) yield { kind: 'wal', key, sizeBytes, name };
  }
}
