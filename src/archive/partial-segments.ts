/**
 * The last segment of a timeline, which is not whole (`NAME.partial`): where its WAL ends, and whether one of two holds all that the other does. A
 * source that died, was salvaged, was started again and died again in the same segment has such a longer one.
 */
import type { Lsn } from '../domain/lsn.ts';
import { parseWalSegmentName, partialSuffix, segmentStart } from '../domain/wal-segment.ts';
import { type ObjectStore, readObject } from '../storage/object-store.ts';
import { damaged, signalOption } from './documents/stored-document.ts';
import { supersededKey } from './layout.ts';
import { sha256Of } from './stored-content.ts';
import type { WalCommit } from './wal-commits.ts';
import { WalReader } from './wal-reader.ts';

/** What the records of a partial segment say. */
export interface PartialEnd {
  /** End of the last whole record. */
  readonly end: Lsn;
  readonly lastCommit: WalCommit | undefined;
}

/** Reads the records. @param name with or without `.partial` */
export function endOfPartial(name: string, bytes: Buffer): PartialEnd {
  const segment = name.endsWith(partialSuffix) ? name.slice(0, -partialSuffix.length) : name;
  const { timeline, number } = parseWalSegmentName(segment, bytes.length);
  const start = segmentStart(number, bytes.length);
  const reader = new WalReader({ timeline, from: start });
  reader.read(bytes, start);
  const { end, restEnd, lastCommit } = reader.reading;
  return { end: restEnd !== undefined && restEnd > end ? restEnd : end, lastCommit };
}

/**
 * How a partial segment stands to the one that is stored. `longer`: its records go on where the stored ones end, and up to there both are the same
 * byte by byte. `same`: they end at the same place. What lies behind the end is no WAL, and says nothing.
 */
function comparePartials(
  name: string,
  { stored, pushed }: { readonly stored: Buffer; readonly pushed: Buffer },
): 'same' | 'longer' | 'other' {
  if (stored.length !== pushed.length) return 'other';
  const [before, after] = [endOfPartial(name, stored).end, endOfPartial(name, pushed).end];
  const { number } = parseWalSegmentName(name.slice(0, -partialSuffix.length), stored.length);
  const commonBytes = Number(before - segmentStart(number, stored.length));
  // Without a single record nothing tells that they are of one server's life.
  if (commonBytes <= 0 || after < before) return 'other';
  if (!stored.subarray(0, commonBytes).equals(pushed.subarray(0, commonBytes))) return 'other';
  return after === before ? 'same' : 'longer';
}

/** A partial segment as the archive holds it. */
export interface StoredPartial {
  readonly key: string;
  readonly content: Buffer;
  /** Of its compression. */
  readonly extension: string;
}

/** Stored, it has less than twice the bytes of its content whatever the compression and encryption. */
const storedMaximumFactor = 2;

/**
 * Keeps a stored partial segment aside when the pushed one is longer; done again it changes nothing.
 * @returns the key that is to be replaced; `same` when there is nothing to store; undefined when the two have nothing to do with each other
 */
export async function supersededBy(
  store: ObjectStore,
  stored: StoredPartial,
  pushed: { readonly name: string; readonly content: Buffer; readonly signal: AbortSignal | undefined },
): Promise<{ readonly key: string } | 'same' | undefined> {
  const { key, content, extension } = stored;
  const { name, signal } = pushed;
  const comparison = comparePartials(name, { stored: content, pushed: pushed.content });
  if (comparison !== 'longer') return comparison === 'same' ? comparison : undefined;
  const info = await store.head(key, signalOption(signal));
  const bytes = await readObject(store, key, { maximumBytes: storedMaximumFactor * content.length, ...signalOption(signal) });
  if (info === undefined || bytes === undefined) throw damaged(key, 'it was removed while its successor was stored');
  const options = { ifAbsent: true, ...(info.metadata === undefined ? {} : { metadata: info.metadata }), ...signalOption(signal) };
  await store.put(supersededKey(name, sha256Of(content), extension), bytes, options);
  return { key };
}
