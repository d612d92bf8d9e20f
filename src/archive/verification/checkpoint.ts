/** How far a deep verification is, kept in the archive: a worker that dies costs the minute since the last one. */
import type { Finding, VerificationReport } from '../../domain/archive-findings.ts';
import type { ObjectStore } from '../../storage/object-store.ts';
import { parseExactJson } from '../documents/exact-json.ts';
import { putDocument, readDocument } from '../documents/stored-document.ts';
import { verificationKey, verificationsPrefix } from '../layout.ts';
import { storeReport } from '../stored-reports.ts';

/** What was read so far. */
export interface Checkpoint {
  readonly state: 'running';
  /** Every object up to this key was read. */
  readonly through: string;
  readonly objectsRead: number;
  readonly bytesRead: number;
  readonly findings: readonly Finding[];
}

type Stored = Checkpoint | { readonly state: 'done'; readonly report: VerificationReport };

/** What an earlier attempt has left. */
export async function readCheckpoint(store: ObjectStore, id: string, signal: AbortSignal): Promise<Stored | undefined> {
  return await readDocument(store, verificationKey(id), { parse: parseStored, signal });
}

export async function writeCheckpoint(
  store: ObjectStore,
  id: string,
  { checkpoint, signal }: { readonly checkpoint: Checkpoint; readonly signal: AbortSignal },
): Promise<void> {
  await putDocument(store, verificationKey(id), { text: JSON.stringify(checkpoint), signal });
}

/** Stores the whole report in place of the checkpoint. */
export async function storeVerification(
  store: ObjectStore,
  id: string,
  { report, signal }: { readonly report: VerificationReport; readonly signal: AbortSignal },
): Promise<void> {
  await storeReport(store, { prefix: verificationsPrefix, key: verificationKey(id), document: { state: 'done', report }, signal });
}

/** Written by us and sealed: what reads as JSON has the form. */
function parseStored(text: string): Stored {
  const value = parseExactJson(text) as Stored;
  if (value.state === 'running' || value.state === 'done') return value;
  throw new SyntaxError('it is no report of a verification');
}
