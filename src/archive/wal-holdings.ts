/** What an archive holds of WAL, for the pure rules about it: one listing, the history files, one header for the size of a segment, and the gaps of the listing asked for by name. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Finding } from '../domain/archive-findings.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { WalHoldings } from '../domain/recovery-plan.ts';
import { defaultWalSegmentBytes, historyFileName, type TimelineId } from '../domain/wal-segment.ts';
import { signalOption } from './documents/stored-document.ts';
import { walKey } from './layout.ts';
import { withUnlisted } from './unlisted-wal.ts';
import type { WalArchive, WalInventory } from './wal-archive.ts';

/** Lists the WAL and reads the history files. @throws WalkbackError OBJECT_DAMAGED for a history file or the segment that tells the size */
export async function readWalHoldings(archive: WalArchive, signal?: AbortSignal): Promise<WalHoldings> {
  const listed = await archive.list(signalOption(signal));
  const histories = await readHistories(archive, listed, signal);
  const segmentBytes = await segmentBytesOf(archive, listed, signal);
  const inventory = await withUnlisted(archive, listed, { segmentBytes, signal });
  return { segments: inventory.segments, partials: inventory.partials, histories, segmentBytes };
}

/** How long to wait for holes to close. */
export interface SettleOptions {
  readonly settlesWithinMs: number;
  readonly isSettled: (holdings: WalHoldings) => boolean;
  readonly signal: AbortSignal;
}

/** What is there, as far as it can be read, and what of the history files cannot. */
export interface SettledHoldings {
  readonly holdings: WalHoldings;
  readonly damagedHistories: readonly Finding[];
}

const settlePollIntervalMs = 1000;

/** Agents archive several segments at a time, so a later one may be there before an earlier one: a hole counts once it has lasted. */
export async function readSettledHoldings(archive: WalArchive, options: SettleOptions): Promise<SettledHoldings> {
  const deadlineMs = performance.now() + options.settlesWithinMs;
  for (;;) {
    const found = await readReadableHoldings(archive, options.signal);
    if (performance.now() >= deadlineMs || options.isSettled(found.holdings)) return found;
    await delay(settlePollIntervalMs, undefined, { signal: options.signal });
  }
}

async function readReadableHoldings(archive: WalArchive, signal: AbortSignal): Promise<SettledHoldings> {
  const listed = await archive.list({ signal });
  const damagedHistories: Finding[] = [];
  const histories = await readHistories(archive, listed, signal, (timeline, error) => {
    const key = historyFileName(timeline);
    damagedHistories.push({ kind: 'object-damaged', severity: 'error', key: walKey(key, ''), text: error.message });
  });
  const segmentBytes = await anySegmentBytes(archive, listed, signal);
  const inventory = await withUnlisted(archive, listed, { segmentBytes, signal });
  return { holdings: { segments: inventory.segments, histories, segmentBytes }, damagedHistories };
}

/** Segments whose headers are asked for the size, should the first be damaged. */
const headersAsked = 3;

/** The size that the first readable header says. */
async function anySegmentBytes(archive: WalArchive, { segments }: WalInventory, signal: AbortSignal): Promise<number> {
  for (const segment of [...segments].slice(0, headersAsked)) {
    try {
      const header = await archive.readHeader(segment, { signal });
      if (header !== undefined) return header.segmentBytes;
    } catch (error) {
      // Its damage is for those who read it whole.
      if (!isDamage(error)) throw error;
    }
  }
  return defaultWalSegmentBytes;
}

/** @param onDamage told of files that cannot be read; without it they are an error */
async function readHistories(
  archive: WalArchive,
  inventory: WalInventory,
  signal: AbortSignal | undefined,
  onDamage?: (timeline: TimelineId, error: WalkbackError) => void,
): Promise<ReadonlyMap<TimelineId, string>> {
  const histories = new Map<TimelineId, string>();
  for (const name of inventory.histories) {
    const timeline = Number.parseInt(name.slice(0, 8), 16);
    try {
      const text = await archive.readHistory(timeline, signalOption(signal));
      if (text !== undefined) histories.set(timeline, text);
    } catch (error) {
      if (onDamage === undefined || !isDamage(error)) throw error;
      onDamage(timeline, error);
    }
  }
  return histories;
}

function isDamage(error: unknown): error is WalkbackError {
  return error instanceof WalkbackError && (error.code === 'OBJECT_DAMAGED' || error.code === 'ARCHIVE_FORMAT_UNSUPPORTED');
}

/** initdb chooses the size, and names of segments cannot be read without it. */
async function segmentBytesOf(archive: WalArchive, { segments }: WalInventory, signal?: AbortSignal): Promise<number> {
  const [anySegment] = segments;
  const header = anySegment === undefined ? undefined : await archive.readHeader(anySegment, signalOption(signal));
  return header?.segmentBytes ?? defaultWalSegmentBytes;
}
