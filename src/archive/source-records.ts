/** Ours: what the source of each base backup was like (domain/source-record.ts), beside the backup's manifest. Other tools' backups have none. */
import { WalkbackError } from '../domain/errors.ts';
import type { DatabaseLocale, InstalledExtension, SourceRecord } from '../domain/source-record.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { JsonFields, parseExactJson } from './documents/exact-json.ts';
import { putDocument, readDocument, signalOption } from './documents/stored-document.ts';
import { sourceRecordKey } from './layout.ts';

/** Writes the record of a backup; doing it again writes the same object again. */
export async function storeSourceRecord(
  store: ObjectStore,
  backup: string,
  options: { readonly record: SourceRecord; readonly signal?: AbortSignal },
): Promise<void> {
  const text = JSON.stringify({ format: 1, backup, ...options.record });
  await putDocument(store, sourceRecordKey(backup), { text, ...signalOption(options.signal) });
}

/** The record of a backup; undefined for those that have none, and for a damaged one: no restore depends on it. */
export async function readSourceRecord(store: ObjectStore, backup: string, signal?: AbortSignal): Promise<SourceRecord | undefined> {
  try {
    return await readDocument(store, sourceRecordKey(backup), { parse: parseSourceRecord, ...signalOption(signal) });
  } catch (error) {
    if (error instanceof WalkbackError && error.code === 'OBJECT_DAMAGED') return undefined;
    throw error;
  }
}

/** @throws SyntaxError */
function parseSourceRecord(text: string): SourceRecord {
  const fields = new JsonFields(parseExactJson(text), 'the record of a source');
  const string = (name: string) => fields.required(name, (all, key) => all.string(key));
  const strings = (name: string) => fields.required(name, (all, key) => all.strings(key));
  const integer = (name: string) => fields.required(name, (all, key) => all.integer(key));
  const minimums = fields.value('minimums');
  return {
    recordedAt: string('recordedAt'),
    version: string('version'),
    architecture: string('architecture'),
    glibcVersion: fields.string('glibcVersion') ?? null,
    icuMajor: fields.integer('icuMajor') ?? null,
    sharedBuffersBytes: integer('sharedBuffersBytes'),
    hugePages: oneOf(string('hugePages'), ['on', 'off', 'try']),
    minimums: numbersIn(minimums),
    preloadLibraries: strings('preloadLibraries'),
    functionLibraries: strings('functionLibraries'),
    extensions: itemsOf(fields, 'extensions').map(extensionOf),
    locales: itemsOf(fields, 'locales').map(localeOf),
    databasesLeftOut: integer('databasesLeftOut'),
  };
}

function itemsOf(fields: JsonFields, name: string): JsonFields[] {
  const items = fields.value(name);
  if (!Array.isArray(items)) throw new SyntaxError(`the record of a source has no list "${name}"`);
  return items.map((item: unknown) => new JsonFields(item, `an item of "${name}"`));
}

function extensionOf(item: JsonFields): InstalledExtension {
  const string = (name: string) => item.required(name, (all, key) => all.string(key));
  return { database: string('database'), name: string('name'), version: string('version') };
}

function localeOf(item: JsonFields): DatabaseLocale {
  const string = (name: string) => item.required(name, (all, key) => all.string(key));
  const provider = oneOf(string('provider'), ['libc', 'icu', 'builtin']);
  return { database: string('database'), provider, locale: string('locale'), version: item.string('version') ?? null };
}

function numbersIn(value: unknown): Readonly<Record<string, number>> {
  if (typeof value !== 'object' || value === null) throw new SyntaxError('the record of a source has no "minimums"');
  const entries = Object.entries(value).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
  return Object.fromEntries(entries);
}

function oneOf<T extends string>(text: string, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text);
  if (found === undefined) throw new SyntaxError(`"${text}" is none of ${allowed.join(', ')}`);
  return found;
}
