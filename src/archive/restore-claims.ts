/**
 * How a restore and retention keep out of each other's way. A restore claims its base backup and looks then which backups are marked for removal;
 * retention marks what it removes and looks then at the claims. Whoever writes later sees the other, in a store that is consistent as S3 is: so a
 * claimed backup is never removed, and a marked one never chosen.
 */
import type { ObjectStore } from '../storage/object-store.ts';
import { JsonFields, parseExactJson } from './documents/exact-json.ts';
import { putDocument, readDocument } from './documents/stored-document.ts';
import { claimKey, claimsPrefix, removalMarkKey, removalMarksPrefix, backupOfRemovalMarkKey } from './layout.ts';

/** Who restores, and from what. */
export interface RestoreClaim {
  /** The workflow id. */
  readonly restoreId: string;
  /** Of Temporal: somebody else's runs cannot be asked about. */
  readonly namespace: string;
  readonly backup: string;
  /** RFC 3339, by the worker's clock. */
  readonly claimedAt: string;
}

const claimsMaximum = 10_000;
const marksMaximum = 10_000;

/** Claims a base backup and the WAL from its start on, in place of what the restore had claimed before. */
export async function claimBackup(store: ObjectStore, claim: RestoreClaim, signal: AbortSignal): Promise<void> {
  await putDocument(store, claimKey(claim.restoreId), { text: JSON.stringify({ version: 1, ...claim }), signal });
}

/** Gives it back. */
export async function releaseClaim(store: ObjectStore, restoreId: string): Promise<void> {
  await store.delete([claimKey(restoreId)]);
}

export async function listClaims(store: ObjectStore, signal: AbortSignal): Promise<readonly RestoreClaim[]> {
  const claims: RestoreClaim[] = [];
  for await (const { key } of store.list(claimsPrefix, { shallow: true, signal })) {
    const claim = await readDocument(store, key, { parse: parseClaim, signal });
    if (claim !== undefined) claims.push(claim);
    if (claims.length >= claimsMaximum) break;
  }
  return claims;
}

/** Says before its sentinel goes that a backup is being removed. */
export async function markForRemoval(store: ObjectStore, backup: string, signal: AbortSignal): Promise<void> {
  const text = JSON.stringify({ version: 1, backup, markedAt: new Date().toISOString() });
  await putDocument(store, removalMarkKey(backup), { text, signal });
}

/** The backup is gone, or stays. */
export async function clearRemovalMarks(store: ObjectStore, backups: readonly string[]): Promise<void> {
  await store.delete(backups.map(removalMarkKey));
}

/** Names of the backups that are being removed: those that exist still, and those whose parts are left. */
export async function listRemovalMarks(store: ObjectStore, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const marked = new Set<string>();
  for await (const { key } of store.list(removalMarksPrefix, { shallow: true, signal })) {
    const backup = backupOfRemovalMarkKey(key);
    if (backup !== undefined) marked.add(backup);
    if (marked.size >= marksMaximum) break;
  }
  return marked;
}

function parseClaim(text: string): RestoreClaim {
  const fields = new JsonFields(parseExactJson(text), 'the claim');
  const member = (name: string) => fields.required(name, (all, key) => all.string(key));
  return {
    restoreId: member('restoreId'),
    namespace: member('namespace'),
    backup: member('backup'),
    claimedAt: member('claimedAt'),
  };
}
