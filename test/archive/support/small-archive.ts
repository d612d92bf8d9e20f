/** Archives with many backups and segments that are small: the objects are real, their content is not a database. */
import { createHash } from 'node:crypto';
import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringifyExactJson } from '../../../src/archive/documents/exact-json.ts';
import { stringifyManifest } from '../../../src/archive/documents/manifest.ts';
import { stringifyMetadata } from '../../../src/archive/documents/metadata-json.ts';
import { putDocument } from '../../../src/archive/documents/stored-document.ts';
import { manifestKey, metadataKey, sentinelKey, tarPartitionsPrefix } from '../../../src/archive/layout.ts';
import { createWalArchive, type OpenWal, type WalArchive } from '../../../src/archive/wal-archive.ts';
import { lsn } from '../../../src/domain/lsn.ts';
import { type TimelineId, walSegmentName, type WalSegmentName } from '../../../src/domain/wal-segment.ts';
import { type ObjectStore, readObject } from '../../../src/storage/object-store.ts';
import { segmentBytes, systemIdentifier, walSegment } from './wal.ts';

/** What a test says of a backup. */
export interface SmallBackup {
  readonly timeline?: TimelineId;
  /** Number of the segment in which it starts. */
  readonly start: number;
  readonly finish?: number;
  /** When it ended. */
  readonly finishTime: string;
  readonly isPermanent?: boolean;
  readonly parent?: SmallBackup;
  /** Pages with a wrong checksum. */
  readonly damagedBlocks?: number;
  /** As WAL-G writes it: without a manifest. */
  readonly withoutManifest?: boolean;
}

const partCount = 3;
const partBytes = 20_000;

/** Name of a segment of 1 MiB. */
export function smallSegment(number: number, timeline: TimelineId = 1): WalSegmentName {
  return walSegmentName({ timeline, number: BigInt(number) }, segmentBytes);
}

export function nameOf({ timeline = 1, start, parent }: SmallBackup): string {
  const parentSegment = parent === undefined ? '' : `_D_${smallSegment(parent.start, parent.timeline).slice(0)}`;
  return `base_${smallSegment(start, timeline)}${parentSegment}`;
}

/** Builds an archive in a store. */
export class SmallArchive {
  readonly store: ObjectStore;
  readonly openWal: OpenWal;
  readonly #directory: string;
  readonly #wal: WalArchive;

  /** @param directory for files on their way */
  constructor(store: ObjectStore, directory: string) {
    this.store = store;
    this.#directory = directory;
    this.openWal = (bytes = segmentBytes) => createWalArchive(store, { compression: 'zstd', segmentBytes: bytes });
    this.#wal = this.openWal();
  }

  /** Segments of one timeline. @param closedAt when the first was closed; each later one a minute after */
  async addWal(numbers: readonly number[], options: { readonly timeline?: TimelineId; readonly closedAt?: string } = {}): Promise<void> {
    const path = join(this.#directory, 'segment');
    for (const [index, number] of numbers.entries()) {
      const name = smallSegment(number, options.timeline);
      await writeFile(path, walSegment({ name }));
      const closed = new Date(Date.parse(options.closedAt ?? '2026-11-22T10:00:00Z') + index * 60_000);
      await utimes(path, closed, closed);
      await this.#wal.push({ path, name, systemIdentifier });
    }
  }

  async addHistory(timeline: TimelineId, text: string): Promise<void> {
    const path = join(this.#directory, 'history');
    await writeFile(path, text);
    await this.#wal.push({ path, name: `${timeline.toString(16).padStart(8, '0').toUpperCase()}.history`, systemIdentifier });
  }

  /** Parts, documents, sentinel. */
  async addBackup(story: SmallBackup): Promise<string> {
    const name = nameOf(story);
    const { start, finish = start, finishTime, isPermanent = false } = story;
    const position = (number: number, offset: number) => lsn(BigInt(number) * BigInt(segmentBytes) + BigInt(offset));
    const facts = { startLsn: position(start, 0x28), finishLsn: position(finish, 0x150) };
    await this.addParts(name, story.withoutManifest !== true);
    const metadata = {
      ...facts,
      startTime: finishTime,
      finishTime,
      hostname: 'db1',
      dataDirectory: '/data',
      pgVersion: 160_014,
      isPermanent,
      systemIdentifier: BigInt(systemIdentifier),
      uncompressedBytes: 1000,
      compressedBytes: 100,
    };
    await putDocument(this.store, metadataKey(name), { text: stringifyMetadata(metadata) });
    await putDocument(this.store, sentinelKey(name), { text: sentinelText(story, metadata) });
    return name;
  }

  /** What an interrupted backup leaves. */
  async addParts(name: string, withManifest = true): Promise<void> {
    const contents = Array.from({ length: partCount }, (_, index) => createHash('sha512').update(`${name} ${index}`).digest());
    const keys = ['part_001.tar', 'part_002.tar', 'pg_control.tar'].map((file) => `${tarPartitionsPrefix(name)}${file}`);
    const objects = keys.map((key, index) => ({ key, bytes: Buffer.alloc(partBytes, contents[index]) }));
    for (const { key, bytes } of objects) await this.store.put(key, bytes);
    if (!withManifest) return;
    const recorded = objects.map(({ key, bytes }) => ({
      key,
      sizeBytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    }));
    await putDocument(this.store, manifestKey(name), { text: stringifyManifest(name, recorded) });
  }
}

function sentinelText(
  { parent, damagedBlocks }: SmallBackup,
  metadata: { readonly startLsn: bigint; readonly finishLsn: bigint; readonly finishTime: string },
): string {
  const root = (story: SmallBackup): SmallBackup => (story.parent === undefined ? story : root(story.parent));
  const delta =
    parent === undefined
      ? {}
      : {
          DeltaLSN: BigInt(parent.start) * BigInt(segmentBytes) + 0x28n,
          DeltaFrom: nameOf(parent),
          DeltaFullName: nameOf(root(parent)),
          DeltaCount: 1,
        };
  return stringifyExactJson({
    LSN: metadata.startLsn,
    FinishLSN: metadata.finishLsn,
    ...delta,
    PgVersion: 160_014,
    SystemIdentifier: BigInt(systemIdentifier),
    UncompressedSize: 1000,
    CompressedSize: 100,
    FilesMetadataDisabled: true,
    Version: 2,
    StartTime: metadata.finishTime,
    FinishTime: metadata.finishTime,
    ...(damagedBlocks === undefined ? {} : { WalkbackDamagedBlocks: damagedBlocks }),
  });
}

/** Flips a bit in the middle of an object; its metadata stays. */
export async function flipByteOf(store: ObjectStore, key: string): Promise<void> {
  const bytes = Buffer.from((await readObject(store, key, { maximumBytes: 100_000_000 }))!);
  const { metadata } = (await store.head(key))!;
  const middle = Math.floor(bytes.length / 2);
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 0x01, middle);
  await store.put(key, bytes, metadata === undefined ? {} : { metadata });
}
