import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { walKey } from '../../src/archive/layout.ts';
import { salvageWal, type SalvagedWal } from '../../src/archive/salvage-wal.ts';
import { createWalArchive, type WalArchive } from '../../src/archive/wal-archive.ts';
import { type ObjectStore, readObject } from '../../src/storage/object-store.ts';
import { formatLsn, type Lsn } from '../../src/domain/lsn.ts';
import { smallSegment } from './support/small-archive.ts';
import { keysOf, storeIn, temporaryDirectory } from './support/temporary.ts';
import { segmentBytes, systemIdentifier, walSegment } from './support/wal.ts';
import { commitRecord, type MadeRecord, type MadeWal, segmentsWith } from './support/wal-records.ts';

const other = (sizeBytes: number): MadeRecord => ({ manager: 10, info: 0x20, data: Buffer.alloc(sizeBytes, 7) });
const signal = new AbortController().signal;
/** What the server wrote before it died. */
const firstLife = [commitRecord('2026-11-22T10:00:07Z'), other(3_200_000), commitRecord('2026-11-22T10:00:09Z'), other(40)];
const zstdDecompressed = promisify(zstdDecompress);

/** A dead server with segments 5 to 8, of which the last is unfinished, and files made ready for later use. */
class DeadServer implements AsyncDisposable {
  readonly #directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  readonly walDirectory: string;
  readonly archive: WalArchive;
  readonly made: MadeWal;
  readonly #store: ObjectStore;

  private constructor(directory: Awaited<ReturnType<typeof temporaryDirectory>>, store: ObjectStore) {
    this.#directory = directory;
    this.#store = store;
    this.archive = createWalArchive(store, { compression: 'zstd', segmentBytes });
    this.walDirectory = join(directory.path, 'pg_wal');
    this.made = segmentsWith(smallSegment(5), firstLife);
  }

  static async open(): Promise<DeadServer> {
    const directory = await temporaryDirectory();
    const { store } = await storeIn(directory.path);
    const server = new DeadServer(directory, store);
    await mkdir(join(server.walDirectory, 'archive_status'), { recursive: true });
    for (const [index, segment] of server.made.segments.entries()) await server.write(smallSegment(5 + index), segment);
    // A recycled file bears a name to come and holds what it held before.
    await server.write(smallSegment(9), walSegment({ name: smallSegment(2) }));
    return server;
  }

  async write(name: string, bytes: Buffer): Promise<void> {
    await writeFile(join(this.walDirectory, name), bytes);
  }

  async status(name: string): Promise<void> {
    await writeFile(join(this.walDirectory, 'archive_status', name), '');
  }

  async store(name: string): Promise<void> {
    await this.archive.push({ name, path: join(this.walDirectory, name), systemIdentifier });
  }

  /** It came back, and wrote these records behind the others into the same segment. */
  async goOn(records: readonly MadeRecord[]): Promise<void> {
    const { segments } = segmentsWith(smallSegment(5), [...firstLife, ...records]);
    await this.write(smallSegment(8), segments[3]!);
  }

  /** Other bytes under a name. */
  async storeAs(name: string, bytes: Buffer): Promise<'stored' | 'already-stored'> {
    const path = join(this.#directory.path, 'other-bytes');
    await writeFile(path, bytes);
    return await this.archive.push({ name, path, systemIdentifier });
  }

  async keysOf(prefix: string): Promise<string[]> {
    return await keysOf(this.#store, prefix);
  }

  /** What a segment that was kept aside holds. */
  async contentOf(key: string): Promise<Buffer> {
    return await zstdDecompressed((await readObject(this.#store, key, { maximumBytes: 2 * segmentBytes })) ?? Buffer.alloc(0));
  }

  async salvage(positions: { readonly checkpointLsn?: string } = {}): Promise<SalvagedWal> {
    const redoLsn = formatLsn(this.made.positions[0]! as Lsn);
    const control = { systemIdentifier, walSegmentBytes: segmentBytes, redoLsn, checkpointLsn: redoLsn, ...positions };
    return await salvageWal({ dataDirectory: this.#directory.path, ...control }, this.archive, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]();
  }
}

describe('salvageWal', () => {
  it('stores what the archive lacks, the unfinished segment as NAME.partial, and names the last commit', async () => {
    await using server = await DeadServer.open();
    await server.store(smallSegment(5));
    await server.status(`${smallSegment(6)}.ready`);
    const before = await readdir(server.walDirectory);
    expect(await server.salvage()).toEqual({
      timeline: 1,
      end: server.made.end,
      lastSegment: smallSegment(8),
      segmentsStored: 2,
      partial: smallSegment(8),
      lastCommit: { time: '2026-11-22T10:00:09.000000Z', xid: '0' },
    });
    const held = await server.archive.list();
    expect([[...held.segments].toSorted(), [...held.partials]]).toEqual([[5, 6, 7].map((n) => smallSegment(n)), [smallSegment(8)]]);
    expect(await server.archive.read(`${smallSegment(8)}.partial`)).toEqual(await readFile(join(server.walDirectory, smallSegment(8))));
    expect(await readdir(server.walDirectory)).toEqual(before);
  });

  it('changes nothing when it is done again', async () => {
    await using server = await DeadServer.open();
    const first = await server.salvage();
    expect(await server.salvage()).toEqual({ ...first, segmentsStored: 0 });
  });

  it('stores history files that wait, and no segment that retention has removed', async () => {
    await using server = await DeadServer.open();
    await server.write('00000001.history', Buffer.from('1\t0/0\tnone\n'));
    await server.status('00000001.history.ready');
    await server.status('00000003.history.ready');
    await server.write(smallSegment(3), walSegment({ name: smallSegment(3) }));
    await server.store(smallSegment(5));
    await server.salvage();
    const held = await server.archive.list();
    expect([...held.histories]).toEqual(['00000001.history']);
    expect(held.segments.has(smallSegment(3))).toBe(false);
  });

  it('never replaces what the archive holds under a name', async () => {
    await using server = await DeadServer.open();
    const grown = segmentsWith(smallSegment(8), [other(100)]);
    const path = join(server.walDirectory, 'grown');
    await writeFile(path, grown.segments[0]!);
    await server.archive.push({ name: `${smallSegment(8)}.partial`, path, systemIdentifier });
    await rm(path);
    await expect(server.salvage()).rejects.toMatchObject({
      code: 'WAL_CONFLICT',
      message: expect.stringContaining(walKey(`${smallSegment(8)}.partial`, 'zst')),
    });
    expect(await server.archive.read(`${smallSegment(8)}.partial`)).toEqual(grown.segments[0]);
  });

  it('stores the longer last segment of a server that came back and died again in it, and keeps the shorter one aside', async () => {
    await using server = await DeadServer.open();
    const name = smallSegment(8);
    const first = await server.salvage();
    const before = await readFile(join(server.walDirectory, name));
    await server.goOn([commitRecord('2026-11-22T10:30:00Z'), other(40)]);
    const second = await server.salvage();
    expect(second).toMatchObject({ partial: name, segmentsStored: 0, lastCommit: { time: '2026-11-22T10:30:00.000000Z' } });
    expect(second.end).toBeGreaterThan(first.end);
    const after = await readFile(join(server.walDirectory, name));
    expect(await server.archive.read(`${name}.partial`)).toEqual(after);
    const [kept, ...more] = await server.keysOf('walkback_001/superseded/');
    expect([kept, more]).toEqual([expect.stringMatching(new RegExp(`/${name}\\.partial\\.[0-9a-f]{64}\\.zst$`)) as string, []]);
    expect(await server.contentOf(kept ?? '')).toEqual(before);
    // Done again it changes nothing; what ends earlier never takes the place of what goes on, nor does what differs before the end.
    await server.salvage();
    expect(await server.keysOf('walkback_001/')).toEqual([kept]);
    const changed = Buffer.from(after);
    changed.writeUInt8(changed.readUInt8(8192 + 8 + 24) ^ 1, 8192 + 8 + 24);
    for (const bytes of [before, changed])
      await expect(server.storeAs(`${name}.partial`, bytes)).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
    expect(await server.archive.read(`${name}.partial`)).toEqual(after);
  });

  it('what lies behind the end of a last segment is no WAL: with other bytes there it is the same', async () => {
    await using server = await DeadServer.open();
    await server.salvage();
    const stored = await server.archive.read(`${smallSegment(8)}.partial`);
    const bytes = Buffer.from(stored ?? '');
    bytes.fill(0xff, bytes.length - 4096);
    expect(await server.storeAs(`${smallSegment(8)}.partial`, bytes)).toBe('already-stored');
    expect(await server.archive.read(`${smallSegment(8)}.partial`)).toEqual(stored);
  });

  it('refuses WAL that goes on behind what cannot be read', async () => {
    await using server = await DeadServer.open();
    const path = join(server.walDirectory, smallSegment(6));
    const damaged = await readFile(path);
    damaged.writeUInt32LE(0, 8192 + 8);
    await writeFile(path, damaged);
    await expect(server.salvage()).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_DAMAGED',
      message: expect.stringContaining(`the WAL goes on in ${smallSegment(7)}`),
    });
    expect((await server.archive.list()).segments.size).toBe(0);
  });

  it('refuses WAL that ends before the last checkpoint', async () => {
    await using server = await DeadServer.open();
    await expect(server.salvage({ checkpointLsn: formatLsn((server.made.end + 8n) as Lsn) })).rejects.toMatchObject({
      code: 'DATA_DIRECTORY_DAMAGED',
      message: expect.stringContaining('its last checkpoint lies at'),
    });
  });
});
