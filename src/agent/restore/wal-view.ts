/** The rules of a restore's view: which names exist for it, and what comes after a segment in the order of replay. */
import { isWalSegmentName, parseWalSegmentName, type WalSegmentName, walSegmentName } from '../../domain/wal-segment.ts';
import type { WalRange, WalView } from '../registration.ts';

/** Is the file in the list that was proven to be in the archive? */
export function viewHolds(view: WalView, name: string, segmentBytes: number): boolean {
  if (!isWalSegmentName(name)) return view.histories.includes(name);
  return view.segments.some((range) => rangeHolds(range, name, segmentBytes));
}

/** At most `count` segments that replay needs after this one, never beyond the view. Empty when the view does not hold the segment. */
export function segmentsAfter(
  view: WalView,
  name: WalSegmentName,
  options: { readonly count: number; readonly segmentBytes: number },
): readonly WalSegmentName[] {
  const { count, segmentBytes } = options;
  const rangeIndex = view.segments.findIndex((range) => rangeHolds(range, name, segmentBytes));
  if (rangeIndex < 0) return [];
  const following: WalSegmentName[] = [];
  let next = parseWalSegmentName(name, segmentBytes).number + 1n;
  for (const range of view.segments.slice(rangeIndex)) {
    const first = parseWalSegmentName(range.first, segmentBytes);
    const last = parseWalSegmentName(range.last, segmentBytes).number;
    // A timeline that forks off begins again with the segment of the fork, which replay reads from the newer timeline.
    if (range !== view.segments[rangeIndex]) next = first.number;
    for (; next <= last && following.length < count; next += 1n) {
      following.push(walSegmentName({ timeline: first.timeline, number: next }, segmentBytes));
    }
  }
  return following;
}

function rangeHolds(range: WalRange, name: WalSegmentName, segmentBytes: number): boolean {
  const segment = parseWalSegmentName(name, segmentBytes);
  return (
    segment.timeline === range.timeline &&
    segment.number >= parseWalSegmentName(range.first, segmentBytes).number &&
    segment.number <= parseWalSegmentName(range.last, segmentBytes).number
  );
}
