/** The tars of a base backup, as the store lists them and as our manifest says they must be. */
import { WalkbackError } from '../../domain/errors.ts';
import type { ObjectInfo, ObjectStore } from '../../storage/object-store.ts';
import { asStored } from '../listed-objects.ts';
import { parseManifest, type StoredObject } from '../documents/manifest.ts';
import { damaged, readDocument } from '../documents/stored-document.ts';
import { manifestKey, tarKind, tarPartitionsPrefix } from '../layout.ts';

/** A tar as it is listed, and what our manifest says it must be. */
export interface StoredTar {
  readonly info: ObjectInfo;
  /** Without the folder. */
  readonly fileName: string;
  /** Undefined for backups that WAL-G wrote. */
  readonly expected: StoredObject | undefined;
}

export interface StoredTars {
  readonly parts: readonly StoredTar[];
  /** Up to WAL-G 3.0.4, in its remote backups and WAL-E's, the labels lie in a part. */
  readonly labels: StoredTar | undefined;
  /** WAL-E has pg_control in a part. */
  readonly pgControl: StoredTar | undefined;
}

/** Our manifest's objects by key; undefined for backups that WAL-G wrote. */
export type Manifest = ReadonlyMap<string, StoredObject> | undefined;

/** 128 MiB each: over 100 TB. */
const maximumTars = 1_000_000;

/** @throws WalkbackError OBJECT_DAMAGED */
export async function readManifest(store: ObjectStore, backup: string, signal: AbortSignal): Promise<Manifest> {
  return await readDocument(store, manifestKey(backup), { parse: parseManifest, signal });
}

/**
 * @param options.named tars that the backup's file list names
 * @throws WalkbackError OBJECT_DAMAGED naming a tar that is missing, is of another size than it was written with, or does not belong
 */
export async function listStoredTars(
  store: ObjectStore,
  options: { readonly backup: string; readonly manifest: Manifest; readonly named: Iterable<string>; readonly signal: AbortSignal },
): Promise<StoredTars> {
  const { backup, manifest, named, signal } = options;
  const prefix = tarPartitionsPrefix(backup);
  const infos: ObjectInfo[] = [];
  for await (const info of store.list(prefix, { shallow: true, signal })) {
    if (info.key !== prefix) infos.push(info);
    if (infos.length > maximumTars) throw new WalkbackError('ARCHIVE_FORMAT_UNSUPPORTED', `${backup} has more than ${maximumTars} tars.`);
  }
  const sizes = new Map<string, number | undefined>([...named].map((name) => [`${prefix}${name}`, undefined]));
  for (const { key, sizeBytes } of manifest?.values() ?? []) if (key.startsWith(prefix)) sizes.set(key, sizeBytes);
  const stored = await asStored(store, infos, { expected: { sizes, mayHave: () => manifest === undefined }, signal });
  const tars: readonly StoredTar[] = stored.map((info) => ({
    info,
    fileName: info.key.slice(prefix.length),
    expected: manifest?.get(info.key),
  }));
  if (manifest !== undefined) assertAsWritten(tars, manifest, prefix);
  const ofKind = (kind: ReturnType<typeof tarKind>): StoredTar[] => tars.filter(({ fileName }) => tarKind(fileName) === kind);
  const onlyOf = (kind: ReturnType<typeof tarKind>): StoredTar | undefined => {
    const [first, ...others] = ofKind(kind);
    if (others.length > 0) throw damaged(first?.info.key ?? prefix, `the backup has ${others.length + 1} such tars instead of one`);
    return first;
  };
  // The largest first, so that none is left over alone at the end.
  const parts = ofKind('part').sort((one, other) => other.info.sizeBytes - one.info.sizeBytes);
  return { parts, labels: onlyOf('backup-label'), pgControl: onlyOf('pg-control') };
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
