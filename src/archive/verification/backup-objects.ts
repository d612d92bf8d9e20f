/** Is everything of a base backup there, by listings and its small documents? */
import type { BaseBackup } from '../../domain/base-backup.ts';
import type { Finding } from '../../domain/archive-findings.ts';
import { WalkbackError } from '../../domain/errors.ts';
import { parseLsn } from '../../domain/lsn.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import type { BackupFolder } from '../backup-folders.ts';
import { parseManifest, type StoredObject } from '../documents/manifest.ts';
import { readDocument } from '../documents/stored-document.ts';
import { asStored } from '../listed-objects.ts';
import { manifestKey, sentinelKey, tarKind, tarPartitionsPrefix, walEOffsetOfBackupName } from '../layout.ts';
import { parseSentinel } from '../sentinel.ts';

/** What each object of a backup must be; undefined where another tool wrote it, or the manifest itself is damaged. */
export type Expected = ReadonlyMap<string, StoredObject> | undefined;

/** A backup as it was checked. */
export interface CheckedBackup {
  readonly expected: Expected;
  readonly findings: readonly Finding[];
}

/** Compares a backup's folder with its manifest, or where it has none with what every backup has. */
export async function checkBackupObjects(store: ObjectStore, folder: BackupFolder, signal: AbortSignal): Promise<CheckedBackup> {
  const { backup } = folder;
  try {
    const expected = await readDocument(store, manifestKey(backup), { parse: parseManifest, signal });
    const findings =
      expected === undefined
        ? unrecordedFindings(folder)
        : recordedFindings(await asFolderIs(store, folder, { expected, signal }), expected);
    return { expected, findings };
  } catch (error) {
    if (!(error instanceof WalkbackError) || error.code !== 'OBJECT_DAMAGED') throw error;
    return { expected: undefined, findings: [damagedObject(backup, manifestKey(backup), error.message), ...unrecordedFindings(folder)] };
  }
}

/** What a backup's objects must be; undefined without a manifest that can be read. */
export async function readExpected(store: ObjectStore, backup: string, signal: AbortSignal): Promise<Expected> {
  try {
    return await readDocument(store, manifestKey(backup), { parse: parseManifest, signal });
  } catch (error) {
    // That it is damaged is said where the backup is checked.
    if (!(error instanceof WalkbackError) || error.code !== 'OBJECT_DAMAGED') throw error;
    return undefined;
  }
}

/** Are all ancestors of a delta there, and are they what it was made from? */
export async function checkChain(
  store: ObjectStore,
  backup: BaseBackup,
  context: { readonly known: ReadonlyMap<string, BaseBackup>; readonly signal: AbortSignal },
): Promise<readonly Finding[]> {
  if (backup.deltaFrom === undefined) return [];
  const { known, signal } = context;
  const broken = (why: string): readonly Finding[] => [
    { kind: 'chain-broken', severity: 'error', backup: backup.name, text: `${backup.name} cannot be restored: ${why}.` },
  ];
  const seen = new Set([backup.name]);
  for (let current = backup; current.deltaFrom !== undefined;) {
    const parent = known.get(current.deltaFrom);
    if (parent === undefined) return broken(`${current.deltaFrom}, which ${current.name} is a delta of, is not in the archive or damaged`);
    if (seen.has(parent.name)) return broken(`its chain leads in a circle over ${parent.name}`);
    seen.add(parent.name);
    current = parent;
  }
  const sentinel = await readDocument(store, sentinelKey(backup.name), { parse: parseSentinel, signal });
  const parent = known.get(backup.deltaFrom);
  if (sentinel?.delta === undefined || parent === undefined || sentinel.delta.startLsn === parseLsn(parent.startLsn)) return [];
  return broken(`its parent ${parent.name} starts at ${parent.startLsn}, which is not where the delta was taken from`);
}

/** The folder, where its listing may lag behind. */
async function asFolderIs(
  store: ObjectStore,
  { backup, objects }: BackupFolder,
  { expected, signal }: { readonly expected: ReadonlyMap<string, StoredObject>; readonly signal: AbortSignal },
): Promise<BackupFolder> {
  const sizes = new Map([...expected.values()].map(({ key, sizeBytes }) => [key, sizeBytes]));
  const tars = tarPartitionsPrefix(backup);
  const mayHave = (key: string): boolean => !key.startsWith(tars);
  return { backup, objects: await asStored(store, objects, { expected: { sizes, mayHave }, signal }) };
}

function recordedFindings({ backup, objects }: BackupFolder, expected: ReadonlyMap<string, StoredObject>): Finding[] {
  const listed = new Map(objects.map(({ key, sizeBytes }) => [key, sizeBytes]));
  const lacking = [...expected.values()].flatMap(({ key, sizeBytes }) => {
    const listedBytes = listed.get(key);
    if (listedBytes === undefined) return [missingObject(backup, key, sizeBytes)];
    return listedBytes === sizeBytes ? [] : [damagedObject(backup, key, `it has ${listedBytes} bytes instead of ${sizeBytes}`)];
  });
  const tars = tarPartitionsPrefix(backup);
  const strange = objects.filter(({ key }) => key.startsWith(tars) && !expected.has(key));
  return [...lacking, ...strange.map(({ key }) => unexpectedObject(backup, key))];
}

/** WAL-G keeps no list of sizes: that the tar without which nothing starts is there is all that a listing can tell. */
function unrecordedFindings({ backup, objects }: BackupFolder): Finding[] {
  const tars = tarPartitionsPrefix(backup);
  const controls = objects.filter(({ key }) => key.startsWith(tars) && tarKind(key.slice(tars.length)) === 'pg-control');
  const note: Finding = {
    kind: 'backup-unrecorded',
    severity: 'note',
    backup,
    text: `${backup} has no manifest of ours: what its objects must be is not recorded, and only --deep tells whether they can be read.`,
  };
  // WAL-E had no such tar: pg_control was in a part.
  if (controls.length === 1 || (controls.length === 0 && walEOffsetOfBackupName(backup) !== undefined)) return [note];
  const text = `${backup} has ${controls.length} tars of pg_control instead of one.`;
  return [{ kind: 'object-missing', severity: 'error', backup, key: `${tars}pg_control.tar`, text }, note];
}

/** The finding about an object that is not what it should be. */
export function damagedObject(backup: string | undefined, key: string, why: string): Finding {
  const text = why.startsWith(key) ? why : `${key} is damaged: ${why}.`;
  return { kind: 'object-damaged', severity: 'error', key, text, ...(backup === undefined ? {} : { backup }) };
}

/** The finding about an object that is not there. */
export function missingObject(backup: string, key: string, sizeBytes: number | undefined): Finding {
  const text = `${key} is missing${sizeBytes === undefined ? '' : `; it had ${sizeBytes} bytes`}.`;
  return { kind: 'object-missing', severity: 'error', backup, key, text };
}

function unexpectedObject(backup: string, key: string): Finding {
  return { kind: 'object-unexpected', severity: 'error', backup, key, text: `${key} does not belong to ${backup}.` };
}
