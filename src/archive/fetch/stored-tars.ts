/** The tars of a base backup, as the store lists them and as our manifest says they must be. */
import { WalkbackError } from '../../domain/errors.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { parseManifest, type StoredObject } from '../documents/manifest.ts';
import { damaged, readDocument } from '../documents/stored-document.ts';
import { manifestKey, tarKind, tarPartitionsPrefix, walEOffsetOfBackupName } from '../layout.ts';
import type { StoredTar } from './tar-extraction.ts';

export interface StoredTars {
  readonly parts: readonly StoredTar[];
  /** Extracted after the parts, in this order: the labels, then pg_control, without which PostgreSQL does not start. */
  readonly last: readonly StoredTar[];
  readonly hasLabelTar: boolean;
  /** False for WAL-E's backups: pg_control and the labels are members of a part. */
  readonly hasControlTar: boolean;
}

/** 128 MiB each: over 100 TB. */
const maximumTars = 1_000_000;

/** @throws WalkbackError OBJECT_DAMAGED naming a tar that is missing, is of another size than it was written with, or does not belong */
export async function listStoredTars(store: ObjectStore, backup: string, signal: AbortSignal): Promise<StoredTars> {
  const prefix = tarPartitionsPrefix(backup);
  const manifest = await readDocument(store, manifestKey(backup), { parse: parseManifest, signal });
  const tars: StoredTar[] = [];
  for await (const info of store.list(prefix, { shallow: true, signal })) {
    if (info.key === prefix) continue;
    tars.push({ info, fileName: info.key.slice(prefix.length), expected: manifest?.get(info.key) });
    if (tars.length > maximumTars) throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${backup} has more than ${maximumTars} tars.`);
  }
  if (manifest !== undefined) assertAsWritten(tars, manifest, prefix);
  const ofKind = (kind: ReturnType<typeof tarKind>): StoredTar[] => tars.filter(({ fileName }) => tarKind(fileName) === kind);
  const [labels, controls] = [ofKind('backup-label'), ofKind('pg-control')];
  const hasControlTar = controls.length > 0 || walEOffsetOfBackupName(backup) === undefined;
  if (hasControlTar && controls.length !== 1)
    throw damaged(`${prefix}pg_control.tar`, `the backup has ${controls.length} such tars instead of one`);
  // The largest first, so that none is left over alone at the end.
  const parts = ofKind('part').sort((one, other) => other.info.sizeBytes - one.info.sizeBytes);
  return { parts, last: [...labels, ...controls], hasLabelTar: labels.length > 0, hasControlTar };
}

function assertAsWritten(tars: readonly StoredTar[], manifest: ReadonlyMap<string, StoredObject>, prefix: string): void {
  const listed = new Set(tars.map(({ info }) => info.key));
  const missing = [...manifest.keys()].find((key) => key.startsWith(prefix) && !listed.has(key));
  if (missing !== undefined) throw damaged(missing, 'it is missing');
  for (const { info, expected } of tars) {
    if (expected === undefined) throw damaged(info.key, 'it does not belong to the backup');
    if (info.sizeBytes !== expected.sizeBytes) throw damaged(info.key, `it has ${info.sizeBytes} bytes instead of ${expected.sizeBytes}`);
  }
}
