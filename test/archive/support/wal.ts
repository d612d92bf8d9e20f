/** WAL segments made by hand. */
import type { ExpectedSegment } from '../../../src/archive/wal-page.ts';
import { parseWalSegmentName, segmentStart } from '../../../src/domain/wal-segment.ts';

export const segmentBytes = 1024 * 1024;
export const systemIdentifier = '7711261887042777698';

/** Fields of the first page's header that differ from the right ones. */
export interface HeaderFaults {
  readonly magic?: number;
  readonly info?: number;
  readonly timeline?: number;
  readonly pageAddress?: bigint;
  readonly systemIdentifier?: bigint;
  readonly segmentBytes?: number;
}

/** A segment with a right header, but for the faults, and content of its own. */
export function walSegment(expected: Pick<ExpectedSegment, 'name'>, faults: HeaderFaults = {}): Buffer {
  const segment = parseWalSegmentName(expected.name.slice(0, 24), segmentBytes);
  const bytes = Buffer.alloc(segmentBytes);
  for (let offset = 8192; offset < segmentBytes; offset += 512) bytes.write(`${expected.name} ${offset}`, offset);
  bytes.writeUInt16LE(faults.magic ?? 0xd113, 0);
  bytes.writeUInt16LE(faults.info ?? 0x0002, 2);
  bytes.writeUInt32LE(faults.timeline ?? segment.timeline, 4);
  bytes.writeBigUInt64LE(faults.pageAddress ?? segmentStart(segment.number, segmentBytes), 8);
  bytes.writeBigUInt64LE(faults.systemIdentifier ?? BigInt(systemIdentifier), 24);
  bytes.writeUInt32LE(faults.segmentBytes ?? segmentBytes, 32);
  bytes.writeUInt32LE(8192, 36);
  return bytes;
}
