/** What the probe found, written down in the archive itself, where everybody who writes to it finds it. */
import { WalkbackError } from '../domain/errors.ts';
import type { StoreCapabilities } from '../domain/store-capabilities.ts';
import { probeCapabilities } from './capability-probe.ts';
import { type ObjectStore, readObject } from './object-store.ts';

/** In the folder of ours, which WAL-G never lists. */
export const capabilitiesKey = 'walkback_001/store.json';

const recordMaximumBytes = 64 * 1024;
const checksumSupports: ReadonlySet<string> = new Set(['enforced', 'ignored', 'refused']);

/** The content of the record. */
export interface RecordedCapabilities extends StoreCapabilities {
  readonly version: 1;
  /** RFC 3339. */
  readonly probedAt: string;
}

/** Probes the store and writes down what was found. @throws WalkbackError when it cannot be written to or read from at all */
export async function probeAndRecord(store: ObjectStore, options: { readonly signal?: AbortSignal } = {}): Promise<StoreCapabilities> {
  const capabilities = await probeCapabilities(store);
  await recordCapabilities(store, capabilities, { probedAt: new Date().toISOString(), ...options });
  return capabilities;
}

/** An archive that lies in the same place as another needs no probe of its own. */
export async function copyCapabilities(from: ObjectStore, to: ObjectStore, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
  const known = await readRecordedCapabilities(from, options);
  if (known !== undefined) await recordCapabilities(to, known, { probedAt: known.probedAt, ...options });
}

/** Writes it down; a later record replaces it. */
export async function recordCapabilities(
  store: ObjectStore,
  capabilities: StoreCapabilities,
  options: { readonly probedAt: string; readonly signal?: AbortSignal },
): Promise<void> {
  const record: RecordedCapabilities = { ...capabilities, version: 1, probedAt: options.probedAt };
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  await store.put(capabilitiesKey, Buffer.from(`${JSON.stringify(record)}\n`), signal);
}

/** @returns undefined when nobody has probed the store yet @throws WalkbackError OBJECT_DAMAGED */
export async function readRecordedCapabilities(
  store: ObjectStore,
  options: { readonly signal?: AbortSignal } = {},
): Promise<RecordedCapabilities | undefined> {
  const bytes = await readObject(store, capabilitiesKey, { maximumBytes: recordMaximumBytes, ...options });
  if (bytes === undefined) return undefined;
  const parsed = parseJson(bytes.toString('utf8'));
  if (isRecord(parsed)) return parsed;
  throw new WalkbackError('OBJECT_DAMAGED', `${store.url}/${capabilitiesKey} is not what the probe writes there.`, {
    hint: 'Write it anew with `walkback probe CLUSTER`.',
    facts: { key: capabilitiesKey },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Told by the caller, with the key.
    return undefined;
  }
}

function isRecord(value: unknown): value is RecordedCapabilities {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Partial<Record<keyof RecordedCapabilities, unknown>>;
  return record.version === 1 && typeof record.conditionalPut === 'boolean' && checksumSupports.has(String(record.checksums));
}
