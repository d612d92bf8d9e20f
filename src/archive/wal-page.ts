/**
 * The long header of a WAL segment's first page (PostgreSQL: src/include/access/xlog_internal.h, XLogLongPageHeaderData), little-endian as on
 * every machine we support. It says which cluster wrote the segment, and where in the WAL it belongs.
 */
import { formatLsn, type Lsn, lsn } from '../domain/lsn.ts';
import { parseWalSegmentName, segmentStart, type TimelineId } from '../domain/wal-segment.ts';

/** What the first page of a segment says. */
export interface WalHeader {
  /** PostgreSQL's major version, by the page's magic number. */
  readonly pgMajor: number;
  readonly timeline: TimelineId;
  /** Position of the page's first byte. */
  readonly pageAddress: Lsn;
  /** Decimal. */
  readonly systemIdentifier: string;
  readonly segmentBytes: number;
}

/** XLOG_PAGE_MAGIC of each major version. */
const majorOfMagic: ReadonlyMap<number, number> = new Map([
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
]);
const longHeaderFlag = 0x0002;
/** XLOG_BLCKSZ, unless PostgreSQL was built otherwise: the header says so, and the records of such WAL are not read here. */
export const walPageBytes = 8192;
/** Sizes of the headers: XLogLongPageHeaderData on the first page of a segment, XLogPageHeaderData on the others, XLogRecord. */
export const walLongPageHeaderBytes = 40;
export const walShortPageHeaderBytes = 24;
export const walRecordHeaderBytes = 24;
/** xlp_info: the page begins within a record; or where one was given up, because a crash kept its rest from being written. */
export const walContinuedFlag = 0x0001;
export const walOverwrittenFlag = 0x0008;

/** Reads the header of a segment's first page. @returns undefined when the bytes are no long page header of PostgreSQL 14 to 18 */
export function readWalHeader(bytes: Buffer): WalHeader | undefined {
  if (bytes.length < walLongPageHeaderBytes) return undefined;
  const pgMajor = majorOfMagic.get(bytes.readUInt16LE(0));
  if (pgMajor === undefined || (bytes.readUInt16LE(2) & longHeaderFlag) === 0) return undefined;
  return {
    pgMajor,
    timeline: bytes.readUInt32LE(4),
    pageAddress: lsn(bytes.readBigUInt64LE(8)),
    systemIdentifier: bytes.readBigUInt64LE(24).toString(),
    segmentBytes: bytes.readUInt32LE(32),
  };
}

/** What a segment must be. */
export interface ExpectedSegment {
  /** Its name, which may end in `.partial`. */
  readonly name: string;
  readonly segmentBytes: number;
  /** Decimal; undefined when it is not known, and then not checked. */
  readonly systemIdentifier: string | undefined;
}

/** Why the bytes are not the segment of that name; undefined when they are. */
export function whyNotSegment(bytes: Buffer, expected: ExpectedSegment): string | undefined {
  const { segmentBytes } = expected;
  if (bytes.length !== segmentBytes) return `it has ${bytes.length} bytes instead of ${segmentBytes}`;
  const header = readWalHeader(bytes);
  if (header === undefined) return 'it does not begin with the page header of a WAL segment of PostgreSQL 14 to 18';
  const segment = parseWalSegmentName(expected.name.slice(0, 24), segmentBytes);
  const start = segmentStart(segment.number, segmentBytes);
  if (header.segmentBytes !== segmentBytes) return `its header says segments of ${header.segmentBytes} bytes instead of ${segmentBytes}`;
  if (header.pageAddress !== start) return `its header says position ${formatLsn(header.pageAddress)} instead of ${formatLsn(start)}`;
  // The segment in which a new timeline begins starts as a copy of the old one's, first page included.
  if (header.timeline > segment.timeline) return `its header says timeline ${header.timeline}, later than ${segment.timeline}`;
  if (expected.systemIdentifier === undefined || header.systemIdentifier === expected.systemIdentifier) return undefined;
  return `its header says system identifier ${header.systemIdentifier} instead of ${expected.systemIdentifier}`;
}
