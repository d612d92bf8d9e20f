/** Ours: where the restore points that we made lie, so that a restore to one is planned like one to a position. */
import { WalkbackError } from '../domain/errors.ts';
import type { RestorePoint } from '../domain/restore-point.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { JsonFields, parseExactJson } from './documents/exact-json.ts';
import { sealJson } from './documents/sealed-json.ts';
import { readDocument, signalOption } from './documents/stored-document.ts';
import { restorePointKey } from './layout.ts';

/**
 * Remembers a restore point.
 * @throws WalkbackError NAME_IN_USE when the archive has one of that name: PostgreSQL would stop at the first it meets
 */
export async function recordRestorePoint(
  store: ObjectStore,
  point: RestorePoint,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const put = await store.put(restorePointKey(point.name), Buffer.from(sealJson(JSON.stringify(point))), {
    ifAbsent: true,
    ...signalOption(options.signal),
  });
  if (put === 'exists') throw restorePointExists(store, point.name);
}

/** The record of a restore point; undefined when there is none, as for those that were made by hand. @throws WalkbackError OBJECT_DAMAGED */
export async function readRestorePoint(
  store: ObjectStore,
  name: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<RestorePoint | undefined> {
  return await readDocument(store, restorePointKey(name), { parse: parseRestorePoint, ...signalOption(options.signal) });
}

/** The error about a name that is taken. */
export function restorePointExists(store: ObjectStore, name: string): WalkbackError {
  return new WalkbackError('NAME_IN_USE', `${store.url} has a restore point named "${name}" already.`, {
    hint: 'Choose another name: recovery stops at the first restore point of a name that it meets.',
    facts: { name },
  });
}

function parseRestorePoint(text: string): RestorePoint {
  const fields = new JsonFields(parseExactJson(text), 'the record of a restore point');
  const string = (name: string) => fields.required(name, (all, key) => all.string(key));
  return {
    name: string('name'),
    lsn: string('lsn'),
    time: string('time'),
    timeline: fields.required('timeline', (all, key) => all.integer(key)),
  };
}
