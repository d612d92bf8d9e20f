/** The commits on both sides of a landing, from the WAL itself: PostgreSQL's log names only the one at which it stopped. */
import type { CommitFact } from '../domain/landing-report.ts';
import { parseLsn, type Lsn } from '../domain/lsn.ts';
import type { WalView } from '../domain/recovery-plan.ts';
import { parseWalSegmentName, segmentNumberAt, type TimelineId, walSegmentName } from '../domain/wal-segment.ts';
import { signalOption } from './documents/stored-document.ts';
import type { WalArchive } from './wal-archive.ts';
import { readCommits } from './wal-commits.ts';

/** An idle source closes segments without a commit in them; further back nobody looks. */
const segmentsBackMaximum = 4;
/** The next commit after the landing is looked for in this many further segments. */
const segmentsAheadMaximum = 1;
/** All of them are held in memory at once; larger segments are not read. */
const segmentMaximumBytes = 64 * 1024 * 1024;

/** What stands next to the landing; undefined where it was not found. */
export interface LandingCommits {
  readonly kept: CommitFact | undefined;
  readonly leftOut: CommitFact | undefined;
}

const nothing: LandingCommits = { kept: undefined, leftOut: undefined };

/** Where replay ended. */
export interface LandingPlace {
  readonly view: WalView;
  readonly segmentBytes: number;
  /** As the log gives it in "redo done at": where the last record begins that was read. */
  readonly endLsn: string;
  /** That record was replayed too; false where replay stopped before it. */
  readonly isLastReplayed: boolean;
  readonly signal: AbortSignal;
}

/** Reads them. */
export async function readLandingCommits(archive: WalArchive, landing: LandingPlace): Promise<LandingCommits> {
  const { view, segmentBytes } = landing;
  const end = parseLsn(landing.endLsn);
  const number = segmentNumberAt(end, segmentBytes);
  const range = view.segments.findLast(({ first, last }) => {
    return parseWalSegmentName(first, segmentBytes).number <= number && number <= parseWalSegmentName(last, segmentBytes).number;
  });
  if (range === undefined || segmentBytes > segmentMaximumBytes) return nothing;
  const [firstNumber, lastNumber] = [range.first, range.last].map((name) => parseWalSegmentName(name, segmentBytes).number);
  const reader = { archive, timeline: range.timeline, segmentBytes, signal: landing.signal };
  const ahead = number + BigInt(segmentsAheadMaximum);
  let wal = await readSegments(reader, number, ahead < (lastNumber ?? number) ? ahead : (lastNumber ?? number));
  for (let back = 1; wal !== undefined; back += 1) {
    const found = commitsAround(wal, end, landing.isLastReplayed);
    const before = number - BigInt(back);
    if (found.kept !== undefined || back >= segmentsBackMaximum || before < (firstNumber ?? number)) return found;
    const earlier = await readSegments(reader, before, before);
    if (earlier === undefined) return found;
    wal = Buffer.concat([earlier, wal]);
  }
  return nothing;
}

/** WAL whose records cannot be followed up to the landing tells nothing about it. */
function commitsAround(wal: Buffer, end: Lsn, isLastReplayed: boolean): LandingCommits {
  const { commits, lastRecordLsn } = readCommits(wal);
  if (lastRecordLsn === undefined || lastRecordLsn < end) return nothing;
  const isKept = ({ lsn }: { readonly lsn: Lsn }) => (isLastReplayed ? lsn <= end : lsn < end);
  const kept = commits.findLast(isKept);
  const leftOut = commits.find((commit) => !isKept(commit));
  return { kept: factOf(kept), leftOut: factOf(leftOut) };
}

function factOf(commit: { readonly time: string; readonly xid: string | undefined } | undefined): CommitFact | undefined {
  return commit === undefined ? undefined : { time: commit.time, xid: commit.xid ?? null };
}

interface SegmentReader {
  readonly archive: WalArchive;
  readonly timeline: TimelineId;
  readonly segmentBytes: number;
  readonly signal: AbortSignal;
}

async function readSegments(
  { archive, timeline, segmentBytes, signal }: SegmentReader,
  first: bigint,
  last: bigint,
): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  for (let number = first; number <= last; number += 1n) {
    const bytes = await archive.read(walSegmentName({ timeline, number }, segmentBytes), signalOption(signal));
    if (bytes === undefined) break;
    // The archive uses its buffers again.
    pieces.push(Buffer.from(bytes));
  }
  return pieces.length === 0 ? undefined : Buffer.concat(pieces);
}
