/** Ours: what each stored object of a base backup must be. WAL-G has no such record, so its own backups have none. */
import type { PageDamage } from '../../domain/base-backup.ts';
import { JsonFields, parseExactJson } from './exact-json.ts';

/** A stored object and the SHA-256 (lower-case hexadecimal) of its bytes as they are stored. */
export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export function stringifyManifest(backup: string, objects: readonly StoredObject[], damage?: PageDamage): string {
  const listed = objects.map(({ key, sizeBytes, sha256 }) => ({ key, bytes: sizeBytes, sha256 }));
  return JSON.stringify({ version: 1, backup, objects: listed, ...(damage === undefined ? {} : { damage }) });
}

/** The objects by key. @throws SyntaxError */
export function parseManifest(text: string): ReadonlyMap<string, StoredObject> {
  const objects = new JsonFields(parseExactJson(text), 'the manifest').value('objects');
  if (!Array.isArray(objects)) throw new SyntaxError('the manifest has no list "objects"');
  return new Map(
    objects.map((item: unknown) => {
      const fields = new JsonFields(item, 'an object of the manifest');
      const key = fields.required('key', (all, name) => all.string(name));
      const sizeBytes = fields.required('bytes', (all, name) => all.integer(name));
      return [key, { key, sizeBytes, sha256: fields.required('sha256', (all, name) => all.string(name)) }];
    }),
  );
}
