/** The rules of a restore's view: which names exist for it, and what comes after a segment in the order of replay. */
import { isWalSegmentName, parseWalSegmentName, partialSuffix, type WalSegmentName, walSegmentName } from '../../domain/wal-segment.ts';
import type { WalRange, WalView } from '../registration.ts';

/** Is the file in the list that was proven to be in the archive? */
export function viewHolds(view: WalView, name: string, segmentBytes: number): boolean {
  if (!isWalSegmentName(name)) return view.histories.includes(name);
  return name === view.partial || view.segments.some((range) => rangeHolds(range, name, segmentBytes));
}

/** The name under which the archive holds a file of the view. */
export function storedNameOf(view: WalView, name: string): string {
  return name === view.partial ? `${name}${partialSuffix}` : name;
}

interface SegmentsWanted {
  readonly count: number;
  readonly segmentBytes: number;
}

/** At most `count` segments that replay needs first. */
export function firstSegments(view: WalView, { count, segmentBytes }: SegmentsWanted): readonly WalSegmentName[] {
  return view.segments.flatMap((range) => segmentsFrom(range, { count, segmentBytes })).slice(0, count);
}

/** At most `count` segments that replay needs after this one, never beyond the view. Empty when the view does not hold the segment. */
export function segmentsAfter(view: WalView, name: WalSegmentName, { count, segmentBytes }: SegmentsWanted): readonly WalSegmentName[] {
  const rangeIndex = view.segments.findIndex((range) => rangeHolds(range, name, segmentBytes));
  const startNumber = parseWalSegmentName(name, segmentBytes).number + 1n;
  const following = view.segments.slice(Math.max(0, rangeIndex)).flatMap((range, index) =>
    // A timeline that forks off begins again with the segment of the fork, which replay reads from the newer timeline.
    segmentsFrom(range, { count, segmentBytes, ...(index === 0 ? { startNumber } : {}) }),
  );
  return rangeIndex < 0 ? [] : following.slice(0, count);
}

function segmentsFrom(
  range: WalRange,
  { count, segmentBytes, startNumber }: SegmentsWanted & { readonly startNumber?: bigint },
): WalSegmentName[] {
  const { timeline, number: first } = parseWalSegmentName(range.first, segmentBytes);
  const last = parseWalSegmentName(range.last, segmentBytes).number;
  const names: WalSegmentName[] = [];
  for (let number = startNumber ?? first; number <= last && names.length < count; number += 1n) {
    names.push(walSegmentName({ timeline, number }, segmentBytes));
  }
  return names;
}

function rangeHolds(range: WalRange, name: WalSegmentName, segmentBytes: number): boolean {
  const segment = parseWalSegmentName(name, segmentBytes);
  return (
    segment.timeline === range.timeline &&
    segment.number >= parseWalSegmentName(range.first, segmentBytes).number &&
    segment.number <= parseWalSegmentName(range.last, segmentBytes).number
  );
}
