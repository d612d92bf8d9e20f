/**
 * Puts the WAL of a dead server that is not archived into its archive: files that wait, whole segments that do not wait yet, and the segment in
 * which the WAL ends. That one goes under NAME.partial, as PostgreSQL calls the last segment of a timeline that was left: should the server
 * come back, it archives the whole segment under its own name, and nothing is in its way.
 */
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WalkbackError } from '../domain/errors.ts';
import { formatLsn, type Lsn, parseLsn } from '../domain/lsn.ts';
import {
  isWalSegmentName,
  parseWalSegmentName,
  partialSuffix,
  segmentNumberAt,
  segmentNumberBefore,
  segmentStart,
  type TimelineId,
  walFileKind,
  walSegmentName,
  type WalSegmentName,
} from '../domain/wal-segment.ts';
import type { WalArchive } from './wal-archive.ts';
import { pageBytesOffset, type WalCommit } from './wal-commits.ts';
import { readWalHeader, walLongPageHeaderBytes, walPageBytes } from './wal-page.ts';
import { WalReader, type WalReading } from './wal-reader.ts';

/** A server that does not run. */
export interface DeadServer {
  readonly dataDirectory: string;
  /** What pg_control says. */
  readonly systemIdentifier: string;
  readonly walSegmentBytes: number;
  readonly redoLsn: string;
  readonly checkpointLsn: string;
}

/** What was salvaged. */
export interface SalvagedWal {
  readonly timeline: TimelineId;
  /** End of the last whole record. */
  readonly end: Lsn;
  /** The segment that holds the last byte before the end. */
  readonly lastSegment: WalSegmentName;
  /** Whole segments that the archive holds now and did not before. */
  readonly segmentsStored: number;
  /** The segment that went into the archive as NAME.partial; undefined when the WAL ends with a segment. */
  readonly partial: WalSegmentName | undefined;
  /** The last commit in the WAL that was read: from a segment before the last checkpoint, or before the first that was not archived. */
  readonly lastCommit: WalCommit | undefined;
}

const readySuffix = '.ready';

/** Segments of a directory whose header is right for their name, by timeline and number. */
type OwnSegments = ReadonlyMap<TimelineId, ReadonlySet<bigint>>;

/**
 * Salvages; done again it changes nothing.
 * @throws WalkbackError DATA_DIRECTORY_DAMAGED when WAL is unreadable before its end, WAL_CONFLICT when the archive holds other content
 */
export async function salvageWal(server: DeadServer, archive: WalArchive, signal: AbortSignal): Promise<SalvagedWal> {
  const walDirectory = join(server.dataDirectory, 'pg_wal');
  const { segments: archived } = await archive.list({ signal });
  const own = await ownSegments(server, walDirectory);
  const timeline = Math.max(0, ...own.keys());
  const numbers = own.get(timeline);
  if (numbers === undefined) throw damaged(server, 'pg_wal holds none');
  const waiting = await waitingNames(walDirectory);
  const name = (number: bigint) => walSegmentName({ timeline, number }, server.walSegmentBytes);
  // What retention has removed may lie here still.
  const oldestArchived = oldestOf(archived, timeline);
  const isMissing = (segment: string) => waiting.has(segment) || (!archived.has(segment) && segment > oldestArchived);
  const missing = [...numbers].filter((number) => isMissing(name(number)));
  const reading = await readToEnd(server, { timeline, numbers, missing, walDirectory, signal });
  const lastNumber = segmentNumberBefore(reading.end, server.walSegmentBytes);
  const whole = missing.filter((number) => segmentStart(number + 1n, server.walSegmentBytes) <= reading.end).map(name);
  const names = new Set([...waiting, ...whole]);
  let segmentsStored = 0;
  for (const file of [...names].toSorted()) {
    const outcome = await push(server, archive, { name: file, path: join(walDirectory, file), signal });
    if (outcome === 'stored' && isWalSegmentName(file)) segmentsStored += 1;
  }
  const last = name(lastNumber);
  const isPartial = !archived.has(last) && !names.has(last);
  if (isPartial) await push(server, archive, { name: `${last}${partialSuffix}`, path: join(walDirectory, last), signal });
  const partial = isPartial ? last : undefined;
  return { timeline, end: reading.end, lastSegment: last, segmentsStored, partial, lastCommit: reading.lastCommit };
}

async function push(
  server: DeadServer,
  archive: WalArchive,
  file: { readonly name: string; readonly path: string; readonly signal: AbortSignal },
): Promise<'stored' | 'already-stored'> {
  return await archive.push({ ...file, systemIdentifier: server.systemIdentifier });
}

interface Stretch {
  readonly timeline: TimelineId;
  /** Segments of the timeline that lie there. */
  readonly numbers: ReadonlySet<bigint>;
  /** Those that the archive lacks. */
  readonly missing: readonly bigint[];
  readonly walDirectory: string;
  readonly signal: AbortSignal;
}

/** Reads from the last checkpoint, or from the first segment that the archive lacks when that is older, to the end. */
async function readToEnd(server: DeadServer, stretch: Stretch): Promise<WalReading> {
  const { timeline, numbers, missing, walDirectory, signal } = stretch;
  const { walSegmentBytes } = server;
  let number = firstToRead(server, stretch);
  const reader = new WalReader({ timeline, from: segmentStart(number, walSegmentBytes) });
  for (; numbers.has(number); number += 1n) {
    signal.throwIfAborted();
    const path = join(walDirectory, walSegmentName({ timeline, number }, walSegmentBytes));
    const segment = await readFile(path);
    if (segment.readUInt32LE(pageBytesOffset) !== walPageBytes)
      throw damaged(server, `${path} has pages of ${segment.readUInt32LE(pageBytesOffset)} bytes`);
    if (!reader.read(segment, segmentStart(number, walSegmentBytes))) break;
  }
  const { reading } = reader;
  const brokenAt = segmentNumberAt(reading.brokenAt ?? reading.end, walSegmentBytes);
  const behind = [...numbers].find((other) => other > brokenAt) ?? missing.find((other) => other > brokenAt);
  if (behind !== undefined) {
    const after = walSegmentName({ timeline, number: behind }, walSegmentBytes);
    throw damaged(server, `no record can be read behind ${formatLsn(reading.end)}, but the WAL goes on in ${after}`);
  }
  if (reading.end > parseLsn(server.checkpointLsn)) return reading;
  throw damaged(server, `its WAL can be read to ${formatLsn(reading.end)} only, and its last checkpoint lies at ${server.checkpointLsn}`);
}

/** One segment earlier when it is there, so that a record that crosses into the first is checked too. */
function firstToRead(server: DeadServer, { numbers, missing }: Stretch): bigint {
  const redo = segmentNumberAt(parseLsn(server.redoLsn), server.walSegmentBytes);
  const smallest = (candidates: Iterable<bigint>) => [...candidates].reduce((least, number) => (number < least ? number : least));
  const wanted = smallest([redo, ...missing]);
  const first = numbers.has(wanted) ? wanted : smallest(numbers);
  return numbers.has(first - 1n) ? first - 1n : first;
}

function oldestOf(archived: ReadonlySet<string>, timeline: TimelineId): string {
  const prefix = timeline.toString(16).toUpperCase().padStart(8, '0');
  let oldest = '';
  for (const segment of archived) if (segment.startsWith(prefix) && (oldest === '' || segment < oldest)) oldest = segment;
  return oldest;
}

/** A file that is made ready for later use bears a name to come, and holds the pages of an older one, or none. */
async function ownSegments(server: DeadServer, walDirectory: string): Promise<OwnSegments> {
  const own = new Map<TimelineId, Set<bigint>>();
  for (const file of await readdir(walDirectory)) {
    if (!isWalSegmentName(file)) continue;
    const { timeline, number } = parseWalSegmentName(file, server.walSegmentBytes);
    const header = readWalHeader(await firstBytes(join(walDirectory, file)));
    if (header === undefined || header.systemIdentifier !== server.systemIdentifier) continue;
    if (header.pageAddress !== segmentStart(number, server.walSegmentBytes) || header.timeline > timeline) continue;
    own.set(timeline, (own.get(timeline) ?? new Set()).add(number));
  }
  return own;
}

async function firstBytes(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(walLongPageHeaderBytes), 0, walLongPageHeaderBytes, 0);
  return buffer.subarray(0, bytesRead);
}

/** Files that PostgreSQL's list says wait to be archived. */
async function waitingNames(walDirectory: string): Promise<ReadonlySet<string>> {
  const files = new Set(await readdir(walDirectory));
  const entries = await readdir(join(walDirectory, 'archive_status'));
  const names = entries.filter((entry) => entry.endsWith(readySuffix)).map((entry) => entry.slice(0, -readySuffix.length));
  return new Set(names.filter((name) => walFileKind(name) !== undefined && files.has(name)));
}

function damaged({ dataDirectory }: DeadServer, why: string): WalkbackError {
  return new WalkbackError('DATA_DIRECTORY_DAMAGED', `The WAL in ${dataDirectory} cannot be salvaged whole: ${why}.`, {
    hint: 'Restore with --source leave to what is archived, or with --to an instant that it proves.',
    facts: { dataDirectory },
  });
}
