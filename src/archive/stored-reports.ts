/** Reports that are kept in the archive they are about: the newest of each kind. */
import type { ObjectStore } from '../storage/object-store.ts';
import { stringifyExactJson } from './documents/exact-json.ts';
import { putDocument } from './documents/stored-document.ts';

/** Reports of a kind that are kept. */
const reportsKept = 50;

/** Stores a report, and removes the oldest of its kind. */
export async function storeReport(
  store: ObjectStore,
  report: { readonly prefix: string; readonly key: string; readonly document: unknown; readonly signal: AbortSignal },
): Promise<void> {
  const { prefix, key, document, signal } = report;
  await putDocument(store, key, { text: stringifyExactJson(document), signal });
  const keys: string[] = [];
  for await (const { key: stored } of store.list(prefix, { shallow: true, signal })) keys.push(stored);
  await store.delete(keys.slice(0, -reportsKept));
}
