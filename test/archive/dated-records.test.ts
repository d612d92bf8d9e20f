import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type EndOfReplay, readLaterRecord } from '../../src/archive/dated-records.ts';
import { parseInstant } from '../../src/domain/instant.ts';
import { formatLsn, lsn } from '../../src/domain/lsn.ts';
import { SmallArchive, smallSegment } from './support/small-archive.ts';
import { storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier } from './support/wal.ts';
import { commitRecord, type MadeRecord, segmentsWith } from './support/wal-records.ts';

const other = (sizeBytes: number): MadeRecord => ({ manager: 10, info: 0x20, data: Buffer.alloc(sizeBytes, 7) });
const switchRecord: MadeRecord = { manager: 0, info: 0x40, data: Buffer.alloc(0), endsSegment: true };
const target = parseInstant('2026-11-22T10:00:00Z');

/** As PostgreSQL 18 writes it. */
function checkpoint(time: string, timeline = 1): MadeRecord {
  const data = Buffer.alloc(88);
  data.writeUInt32LE(timeline, 8);
  data.writeUInt32LE(timeline, 12);
  data.writeBigInt64LE(BigInt(Date.parse(time) / 1000), 64);
  return { manager: 0, info: 0x10, data };
}

/** What the archive that holds the records from segment 5 on tells. @param last number of the record at which replay ended */
async function laterIn(records: readonly MadeRecord[], last: number, options: { readonly first?: number } = {}) {
  await using directory = await temporaryDirectory();
  const { store } = await storeIn(directory.path);
  const archive = new SmallArchive(store, directory.path).openWal();
  const { segments, positions } = segmentsWith(smallSegment(5), records);
  for (const [index, bytes] of segments.entries()) {
    const path = join(directory.path, 'segment');
    await writeFile(path, bytes);
    await archive.push({ path, name: smallSegment(5 + index), systemIdentifier });
  }
  const [first, end] = [smallSegment(options.first ?? 5), smallSegment(4 + segments.length)];
  const view = { segments: [{ timeline: 1, first, last: end, count: segments.length }], histories: [] };
  const facts: EndOfReplay = {
    view,
    segmentBytes,
    endLsn: formatLsn(lsn(positions[last]!)),
    target,
    signal: AbortSignal.timeout(20_000),
  };
  const found = await readLaterRecord(archive, facts);
  return { found, positions: positions.map((position) => formatLsn(lsn(position))) };
}

describe('readLaterRecord', () => {
  it('finds the checkpoint that is dated a second after the target, and none that is dated before', async () => {
    const records = [commitRecord('2026-11-22T09:59:59Z'), checkpoint('2026-11-22T10:00:01Z'), switchRecord];
    const { found, positions } = await laterIn(records, 2);
    expect(found).toEqual({ kind: 'checkpoint', lsn: positions[1], time: '2026-11-22T10:00:01.000000Z' });
    expect((await laterIn([records[0]!, checkpoint('2026-11-22T10:00:00Z'), switchRecord], 2)).found).toBeUndefined();
  });

  it('takes no record behind the end of replay', async () => {
    const records = [commitRecord('2026-11-22T09:59:59Z'), other(100), checkpoint('2026-11-22T10:01:00Z'), switchRecord];
    expect((await laterIn(records, 1)).found).toBeUndefined();
    expect((await laterIn(records, 2)).found).toMatchObject({ kind: 'checkpoint' });
  });

  it('takes no record of an earlier timeline, whose host may have had another clock', async () => {
    expect((await laterIn([checkpoint('2026-11-22T10:01:00Z', 2), switchRecord], 1)).found).toBeUndefined();
  });

  it('looks back into earlier segments, as far as they belong to the restore, and four at most', async () => {
    const idle = [other(10), switchRecord];
    const back = (count: number) => [checkpoint('2026-11-22T10:01:00Z'), switchRecord, ...Array.from({ length: count }, () => idle).flat()];
    expect((await laterIn(back(3), 7)).found).toMatchObject({ kind: 'checkpoint' });
    expect((await laterIn(back(3), 7, { first: 6 })).found).toBeUndefined();
    expect((await laterIn(back(4), 9)).found).toBeUndefined();
  });

  it('reads a checkpoint whose record goes on in the next segment', async () => {
    // Forty bytes of it lie in the first segment.
    const usable = segmentBytes - 40 - (segmentBytes / 8192 - 1) * 24;
    const fill = other(usable - 40 - 29);
    const { found, positions } = await laterIn([fill, checkpoint('2026-11-22T10:01:00Z'), switchRecord], 2);
    expect(positions[1]).toBe('0/5FFFD8');
    expect(found).toMatchObject({ lsn: positions[1] });
  });
});
