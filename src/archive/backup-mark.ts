/** Marks base backups as permanent, as `wal-g backup-mark` does it: `is_permanent` in metadata.json, which retention of both tools honours. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import { ancestorsOf } from '../domain/retention-policy.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { listBaseBackups } from './catalog.ts';
import { parseExactJson, stringifyExactJson } from './documents/exact-json.ts';
import { damaged, putDocument, readDocument } from './documents/stored-document.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { metadataKey } from './layout.ts';
import { listRemovalMarks } from './restore-claims.ts';

/** What is marked. */
export interface MarkBackupOptions {
  readonly store: ObjectStore;
  /** Undefined: the archive is not encrypted. */
  readonly cipher: ObjectCipher | undefined;
  readonly backup: string;
  readonly isPermanent: boolean;
  readonly signal: AbortSignal;
}

/**
 * Marks a backup; a delta's ancestors become permanent with it. Doing it again changes nothing.
 * @returns the backups whose mark was changed
 * @throws WalkbackError NOT_FOUND when there is no such backup, or retention is removing it; BACKUP_NEEDED when a permanent delta is made from one
 * that is not to be permanent any more
 */
export async function markBackup(options: MarkBackupOptions): Promise<readonly string[]> {
  const { store, cipher, backup: name, isPermanent, signal } = options;
  const { backups } = await listBaseBackups(store, { signal, cipher });
  const byName = new Map(backups.map((backup) => [backup.name, backup]));
  const backup = byName.get(name);
  if (backup === undefined) throw notFound(`${store.url} holds no base backup named ${name} that can be read.`, name);
  const chain = isPermanent ? [...ancestorsOf(backup, byName).toReversed(), backup] : [backup];
  if (!isPermanent) assertNotNeeded(backup, backups, byName);
  const changing = chain.filter((each) => each.isPermanent !== isPermanent);
  for (const each of changing) await rewriteMark(store, each.name, { isPermanent, signal });
  // Retention looks for permanent backups after it has marked what it removes; so one of the two sees the other.
  const removed = isPermanent ? await listRemovalMarks(store, signal) : new Set<string>();
  const going = chain.find((each) => removed.has(each.name));
  if (going !== undefined) throw notFound(`${going.name} is being removed by retention at this moment.`, going.name);
  return changing.map((each) => each.name);
}

function assertNotNeeded(backup: BaseBackup, backups: readonly BaseBackup[], byName: ReadonlyMap<string, BaseBackup>): void {
  const dependent = backups.find((other) => other.isPermanent && ancestorsOf(other, byName).includes(backup));
  if (dependent === undefined) return;
  throw new WalkbackError('BACKUP_NEEDED', `${dependent.name} is permanent and is a delta on top of ${backup.name}.`, {
    facts: { backup: backup.name, dependent: dependent.name },
    hint: `Unmark it first: \`walkback backup-mark CLUSTER ${dependent.name} --impermanent\`.`,
  });
}

/** Members that we do not know stay as they are. */
async function rewriteMark(
  store: ObjectStore,
  backup: string,
  { isPermanent, signal }: { readonly isPermanent: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const key = metadataKey(backup);
  const document = await readDocument(store, key, { parse: parseExactJson, signal });
  if (typeof document !== 'object' || document === null) {
    throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${backup} has no metadata.json, so it cannot be marked.`, { facts: { backup } });
  }
  const others = Object.entries(document).filter(([name]) => name.toLowerCase() !== permanentMember);
  if (others.length === 0) throw damaged(key, 'it has no members');
  await putDocument(store, key, { text: stringifyExactJson(Object.fromEntries([...others, [permanentMember, isPermanent]])), signal });
}

const permanentMember = 'is_permanent';

function notFound(message: string, backup: string): WalkbackError {
  return new WalkbackError('NOT_FOUND', message, { facts: { backup } });
}
