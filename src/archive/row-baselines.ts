/** Ours: row counts of a cluster, remembered in its archive, the newest fifty. */
import type { RowBaseline } from '../domain/row-baseline.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { readDocument, signalOption } from './documents/stored-document.ts';
import { rowBaselineKey, rowBaselinesPrefix } from './layout.ts';
import { storeReport } from './stored-reports.ts';

/** Remembers a baseline under the instant at which it was taken. */
export async function putRowBaseline(store: ObjectStore, baseline: RowBaseline, signal: AbortSignal): Promise<string> {
  const key = rowBaselineKey(baseline.takenAt);
  await storeReport(store, { prefix: rowBaselinesPrefix, key, document: baseline, signal });
  return key;
}

/** The newest baseline of a database that was taken at or before the instant; the newest of all without one. @throws WalkbackError OBJECT_DAMAGED */
export async function readRowBaseline(
  store: ObjectStore,
  wanted: { readonly database: string; readonly notAfter: string | undefined },
  signal: AbortSignal,
): Promise<RowBaseline | undefined> {
  const keys: string[] = [];
  for await (const { key } of store.list(rowBaselinesPrefix, { shallow: true, signal })) keys.push(key);
  const limit = wanted.notAfter === undefined ? undefined : rowBaselineKey(wanted.notAfter);
  for (const key of keys.toReversed()) {
    if (limit !== undefined && key > limit) continue;
    const baseline = await readDocument(store, key, { parse: parseBaseline, ...signalOption(signal) });
    if (baseline?.database === wanted.database) return baseline;
  }
  return undefined;
}

function parseBaseline(text: string): RowBaseline {
  const baseline = JSON.parse(text) as RowBaseline;
  if (typeof baseline.takenAt === 'string' && typeof baseline.database === 'string' && Array.isArray(baseline.tables)) return baseline;
  throw new SyntaxError('it is no baseline of row counts');
}
