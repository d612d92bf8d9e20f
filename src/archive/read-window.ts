/** Reads what a window is made of: listings, a few closing times, and the commits in the last segments. */
import {
  archiveWindow,
  type ArchiveWindow,
  type LastCommit,
  partialBehind,
  segmentsToAsk,
  type WindowLimits,
  type WindowPartial,
} from '../domain/archive-window.ts';
import { WalkbackError } from '../domain/errors.ts';
import { type Instant, parseInstant } from '../domain/instant.ts';
import { type WalIntegrity, walIntegrity } from '../domain/wal-integrity.ts';
import { formatLsn } from '../domain/lsn.ts';
import { parseWalSegmentName, partialSuffix, walSegmentName, type WalSegmentName } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { listBaseBackups } from './catalog.ts';
import { signalOption } from './documents/stored-document.ts';
import type { ObjectCipher } from './encryption/cipher.ts';
import { forEachParallel } from './parallel.ts';
import { endOfPartial } from './partial-segments.ts';
import type { OpenWal, WalArchive } from './wal-archive.ts';
import { lastCommitTime } from './wal-commits.ts';
import { readWalHoldings } from './wal-holdings.ts';

/** Closing times asked for, the newest segments first. */
const askedMaximum = 500;
const askConcurrency = 8;
/** An idle source closes segments without a commit in them; further back nobody looks. */
const commitSegmentsMaximum = 8;

/** What can be restored from the archive. @throws WalkbackError as the listings do */
export async function readArchiveWindow(
  store: ObjectStore,
  options: {
    readonly cluster: string;
    readonly openWal: OpenWal;
    readonly cipher: ObjectCipher | undefined;
    readonly limits: WindowLimits;
    readonly signal?: AbortSignal;
  },
): Promise<ArchiveWindow> {
  const { cluster, openWal, cipher, limits, signal } = options;
  const [{ backups }, wal] = await Promise.all([listBaseBackups(store, { signal, cipher }), readWalHoldings(openWal(), signal)]);
  const archive = openWal(wal.segmentBytes);
  const integrity = walIntegrity(backups, wal);
  const closedAt = await closingTimes(archive, integrity, signal);
  const newest = integrity.backups.findLast(({ isUsable }) => isUsable)?.lastSegment;
  const partial = await readPartial(archive, partialBehind(integrity, wal), signal);
  const lastWhole = newest === undefined ? undefined : await findLastCommit(archive, newest, { wal, signal });
  const lastCommit = partial?.lastCommit === undefined ? lastWhole : { time: partial.lastCommit, segment: partial.segment };
  return archiveWindow({ cluster, backups, integrity, closedAt, lastCommit, partial }, limits);
}

async function closingTimes(
  archive: WalArchive,
  integrity: WalIntegrity,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, Instant>> {
  const asked = [...segmentsToAsk(integrity)].toSorted().slice(-askedMaximum);
  const times = new Map<string, Instant>();
  await forEachParallel(asked, { concurrency: askConcurrency, signal }, async (segment, eachSignal) => {
    const text = await archive.closedAt(segment, { signal: eachSignal });
    if (text !== undefined) times.set(segment, parseInstant(text));
  });
  return times;
}

async function findLastCommit(
  archive: WalArchive,
  newest: WalSegmentName,
  context: {
    readonly wal: { readonly segmentBytes: number; readonly segments: ReadonlySet<string> };
    readonly signal: AbortSignal | undefined;
  },
): Promise<LastCommit | undefined> {
  const { segmentBytes, segments } = context.wal;
  const { timeline, number } = parseWalSegmentName(newest, segmentBytes);
  for (let back = 0n; back < commitSegmentsMaximum; back += 1n) {
    if (number < back) return undefined;
    const segment = walSegmentName({ timeline, number: number - back }, segmentBytes);
    if (!segments.has(segment)) return undefined;
    const time = await commitTimeIn(archive, segment, context.signal);
    if (time !== undefined) return { time, segment };
  }
  return undefined;
}

async function readPartial(
  archive: WalArchive,
  segment: WalSegmentName | undefined,
  signal: AbortSignal | undefined,
): Promise<WindowPartial | undefined> {
  const bytes = segment === undefined ? undefined : await readable(archive, `${segment}${partialSuffix}`, signal);
  if (segment === undefined || bytes === undefined) return undefined;
  const { end, lastCommit } = endOfPartial(segment, bytes);
  return { segment, lsn: formatLsn(end), lastCommit: lastCommit?.time };
}

async function commitTimeIn(archive: WalArchive, segment: WalSegmentName, signal: AbortSignal | undefined): Promise<Instant | undefined> {
  const bytes = await readable(archive, segment, signal);
  return bytes === undefined ? undefined : lastCommitTime(bytes);
}

/** A damaged segment tells nothing here; that it is damaged is for `verify` to say. */
async function readable(archive: WalArchive, name: string, signal: AbortSignal | undefined): Promise<Buffer | undefined> {
  try {
    return await archive.read(name, signalOption(signal));
  } catch (error) {
    if (error instanceof WalkbackError && error.code === 'OBJECT_DAMAGED') return undefined;
    throw error;
  }
}
