/**
 * WAL segments that a listing leaves out though they are there: a store that is consistent only eventually lists what there was a while ago, and answers by
 * name what there is. Asked for are the names between two that are listed; what lies behind the last one is waited for by whoever closed it.
 */
import { parseWalSegmentName, type WalSegmentName, walSegmentName } from '../domain/wal-segment.ts';
import { signalOption } from './documents/stored-document.ts';
import { mapParallel } from './parallel.ts';
import type { WalArchive, WalInventory } from './wal-archive.ts';

/** A listing that lags leaves out a few of the last moments' writes. Where more is missing, it is gone. */
const doubtsMaximumCount = 16;
const concurrency = 8;
/** Names within 4 GiB of WAL, a block of the names of a timeline. */
const blockBytes = 0x1_0000_0000;

/** The inventory with the segments that are there all the same. */
export async function withUnlisted(
  archive: WalArchive,
  inventory: WalInventory,
  { segmentBytes, signal }: { readonly segmentBytes: number; readonly signal: AbortSignal | undefined },
): Promise<WalInventory> {
  const doubts = namesBetween([...inventory.segments] as WalSegmentName[], segmentBytes);
  if (doubts.length === 0) return inventory;
  const isThere = await mapParallel(doubts, { concurrency, signal }, async (name, each) => archive.has(name, signalOption(each)));
  const unlisted = doubts.filter((_name, index) => isThere[index] === true);
  return unlisted.length === 0 ? inventory : { ...inventory, segments: new Set([...inventory.segments, ...unlisted]) };
}

/** Names between two of a timeline, of which the second does not follow the first; none when they are too many. */
function namesBetween(segments: readonly WalSegmentName[], segmentBytes: number): readonly WalSegmentName[] {
  const between: WalSegmentName[] = [];
  const sorted = segments.toSorted();
  for (const [index, name] of sorted.entries()) {
    const before = sorted[index - 1];
    if (before === undefined || before.slice(0, 8) !== name.slice(0, 8)) continue;
    const missingCount = numberOf(name, segmentBytes) - numberOf(before, segmentBytes) - 1;
    if (between.length + missingCount > doubtsMaximumCount) return [];
    if (missingCount <= 0) continue;
    const { timeline, number } = parseWalSegmentName(before, segmentBytes);
    for (let step = 1; step <= missingCount; step += 1)
      between.push(walSegmentName({ timeline, number: number + BigInt(step) }, segmentBytes));
  }
  return between;
}

/** As a plain number, which is exact for every name and quick for hundreds of thousands. */
function numberOf(name: WalSegmentName, segmentBytes: number): number {
  return Number.parseInt(name.slice(8, 16), 16) * (blockBytes / segmentBytes) + Number.parseInt(name.slice(16), 16);
}
