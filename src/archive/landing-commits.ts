/** The commits on both sides of a landing, from the WAL itself: PostgreSQL's log names only the one at which it stopped. */
import type { CommitFact } from '../domain/landing-report.ts';
import { parseLsn, type Lsn } from '../domain/lsn.ts';
import type { WalView } from '../domain/recovery-plan.ts';
import { parseWalSegmentName, segmentNumberAt, walSegmentName } from '../domain/wal-segment.ts';
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
  const range = view.segments.findLast((candidate) => isInRange(candidate, number, segmentBytes));
  if (range === undefined || segmentBytes > segmentMaximumBytes) return nothing;
  const reader = { archive, range, segmentBytes, signal: landing.signal };
  const readCommitsOf = (wal: Buffer) => commitsAround(wal, end, landing.isLastReplayed);
  let wal = await readSegment(reader, number);
  if (wal === undefined) return nothing;
  let found = readCommitsOf(wal);
  // Mostly both commits are in the landing's own segment. Of a record that goes on in the next one, nothing behind it is found here.
  for (let ahead = 1; found.leftOut === undefined && ahead <= segmentsAheadMaximum; ahead += 1) {
    const later = await readSegment(reader, number + BigInt(ahead));
    if (later === undefined) break;
    wal = Buffer.concat([wal, later]);
    found = readCommitsOf(wal);
  }
  for (let back = 1; found.kept === undefined && back <= segmentsBackMaximum; back += 1) {
    const earlier = await readSegment(reader, number - BigInt(back));
    if (earlier === undefined) break;
    wal = Buffer.concat([earlier, wal]);
    found = readCommitsOf(wal);
  }
  return found;
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
  readonly range: WalView['segments'][number];
  readonly segmentBytes: number;
  readonly signal: AbortSignal;
}

/** Undefined for one that the restore did not have, too. */
async function readSegment({ archive, range, segmentBytes, signal }: SegmentReader, number: bigint): Promise<Buffer | undefined> {
  if (!isInRange(range, number, segmentBytes)) return undefined;
  return await archive.read(walSegmentName({ timeline: range.timeline, number }, segmentBytes), signalOption(signal));
}

function isInRange({ first, last }: SegmentReader['range'], number: bigint, segmentBytes: number): boolean {
  return parseWalSegmentName(first, segmentBytes).number <= number && number <= parseWalSegmentName(last, segmentBytes).number;
}
