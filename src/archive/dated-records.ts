/**
 * Records with an instant of the source's clock that recovery to a time passes over: it stops at commits and aborts alone. One dated after the target
 * proves that the source lived beyond it (PostgreSQL: catalog/pg_control.h, struct CheckPoint; access/xlog_internal.h, xl_restore_point and
 * xl_end_of_recovery; the dates lie at the same place from 14 to 18).
 *
 * A checkpoint takes its time when it begins, and waits for every commit that was stamped before its redo position, so no commit behind its record is
 * dated before it; the others take theirs just before they are written, as commits do.
 */
import { type DatedRecord, isProvablyAfter } from '../domain/early-end.ts';
import { type Instant, instantOfMicroseconds } from '../domain/instant.ts';
import { formatLsn, parseLsn } from '../domain/lsn.ts';
import { lastSegmentOf, viewHolds, type WalView } from '../domain/recovery-plan.ts';
import { partialSuffix, segmentNumberAt, type TimelineId, timelineOf, walSegmentName } from '../domain/wal-segment.ts';
import { signalOption } from './documents/stored-document.ts';
import type { WalArchive } from './wal-archive.ts';
import { instantOfStamp, ownDataOf, type RecordHead, recordHeads } from './wal-commits.ts';
import { walPageBytes } from './wal-page.ts';

/** How many segments are read, backwards from the end of replay: an idle source's last checkpoint lies in the last ones. */
const segmentsReadMaximum = 4;
/** A segment is held in memory twice; larger ones are not read. */
const segmentMaximumBytes = 64 * 1024 * 1024;

/** Resource manager of WAL itself, and its records that carry a time. */
const walManager = 0;
const operationMask = 0xf0;
const shutdownCheckpoint = 0x00;
const onlineCheckpoint = 0x10;
const restorePoint = 0x70;
const endOfRecovery = 0x90;
/** In struct CheckPoint, and how many bytes are needed of it. */
const checkpointTimelineOffset = 8;
const checkpointTimeOffset = 64;
const checkpointHeadBytes = checkpointTimeOffset + 8;
/** xl_restore_point and xl_end_of_recovery begin with the time; the timeline of the latter follows. */
const stampBytes = 8;
const endOfRecoveryHeadBytes = stampBytes + 4;

/** A dated record, and the timeline on which it was written. */
export interface PlacedDate extends DatedRecord {
  readonly timeline: TimelineId;
}

/** Where replay ended, and what it was to reach. */
export interface EndOfReplay {
  readonly view: WalView;
  readonly segmentBytes: number;
  /** As the log gives it in "redo done at": where the last record begins that was replayed. Any later position of its segment stands for the end of the WAL. */
  readonly endLsn: string;
  readonly target: Instant;
  readonly signal: AbortSignal;
}

/**
 * The last record that was replayed and is dated provably after the target. Only those of the view's last timeline count: the next timeline may be of another
 * host, with another clock.
 */
export async function readLaterRecord(archive: WalArchive, end: EndOfReplay): Promise<DatedRecord | undefined> {
  const { view, segmentBytes, signal } = end;
  const last = lastSegmentOf(view);
  if (last === undefined || segmentBytes > segmentMaximumBytes) return undefined;
  const endLsn = parseLsn(end.endLsn);
  const timeline = timelineOf(last);
  const endNumber = segmentNumberAt(endLsn, segmentBytes);
  // A record may go on in the next segment, no further than in its first page.
  let behind = Buffer.alloc(0);
  for (let number = endNumber; number >= 0n && number > endNumber - BigInt(segmentsReadMaximum); number -= 1n) {
    const name = walSegmentName({ timeline, number }, segmentBytes);
    if (!viewHolds(view, { timeline, name })) return undefined;
    const segment = await archive.read(name === view.partial ? `${name}${partialSuffix}` : name, signalOption(signal));
    if (segment === undefined) return undefined;
    const wal = Buffer.concat([segment, behind]);
    const found = datedRecords(wal).findLast((record) => {
      return record.timeline === timeline && parseLsn(record.lsn) <= endLsn && isProvablyAfter(record.time, end.target);
    });
    if (found !== undefined) return { kind: found.kind, lsn: found.lsn, time: found.time };
    behind = Buffer.from(wal.subarray(0, walPageBytes));
  }
  return undefined;
}

/** Every dated record that begins in the WAL. @param wal one segment, or several of a timeline, one behind the other */
export function datedRecords(wal: Buffer): PlacedDate[] {
  const records: PlacedDate[] = [];
  for (const record of recordHeads(wal)) {
    const dated = datedRecordOf(record);
    if (dated !== undefined) records.push({ ...dated, lsn: formatLsn(record.lsn) });
  }
  return records;
}

function datedRecordOf({ head, pageTimeline }: RecordHead): Omit<PlacedDate, 'lsn'> | undefined {
  if (head.readUInt8(17) !== walManager) return undefined;
  const data = ownDataOf(head) ?? Buffer.alloc(0);
  switch (head.readUInt8(16) & operationMask) {
    case shutdownCheckpoint:
      return checkpointOf('shutdown', data);
    case onlineCheckpoint:
      return checkpointOf('checkpoint', data);
    case restorePoint:
      return data.length < stampBytes
        ? undefined
        : { kind: 'restore-point', time: instantOfStamp(data.readBigInt64LE(0)), timeline: pageTimeline };
    case endOfRecovery:
      return data.length < endOfRecoveryHeadBytes
        ? undefined
        : { kind: 'end-of-recovery', time: instantOfStamp(data.readBigInt64LE(0)), timeline: data.readUInt32LE(stampBytes) };
    default:
      return undefined;
  }
}

/** Its time is in whole seconds, rounded down. */
function checkpointOf(kind: 'checkpoint' | 'shutdown', data: Buffer): Omit<PlacedDate, 'lsn'> | undefined {
  if (data.length < checkpointHeadBytes) return undefined;
  const time = instantOfMicroseconds(data.readBigInt64LE(checkpointTimeOffset) * 1_000_000n);
  return { kind, time, timeline: data.readUInt32LE(checkpointTimelineOffset) };
}
