import { closeSync, openSync, writeSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { zlibOutputChunkBytes } from '../../src/archive/compression/zlib-stream.ts';
import { zstd } from '../../src/archive/compression/zstd.ts';
import { DirectFile, openDirect } from '../../src/archive/fetch/direct-file.ts';
import { DirectWrites, directWriteBytes } from '../../src/archive/fetch/direct-writes.ts';
import { ProcessorWatch } from '../../src/archive/fetch/processor-time.ts';
import { RestoredTree } from '../../src/archive/fetch/restored-tree.ts';
import { TarReader } from '../../src/archive/tar-reader.ts';
import { temporaryDirectory } from '../harness/temp.ts';
import { cut } from './support/pieces.ts';
import { tarOf } from './support/tar.ts';

const mebibyte = 1024 * 1024;
const busy = (): { busyShare: () => number } => ({ busyShare: () => 1 });
const idle = (): { busyShare: () => number } => ({ busyShare: () => 0.45 });
const halfBusy = (): { busyShare: () => number } => ({ busyShare: () => 0.5 });

/**
 * What the directory that tests have says to such writes. Where it takes none, a fetch goes through the page cache; a tmpfs takes them from any
 * address.
 */
const { isTaken, isAlignmentNeeded } = await (async () => {
  await using directory = await temporaryDirectory();
  const file = openDirect(directory.join('try'), 0o600);
  if (file === undefined) return { isTaken: false, isAlignmentNeeded: false };
  try {
    writeSync(file, Buffer.alloc(8192).subarray(1, 4097));
    return { isTaken: true, isAlignmentNeeded: false };
  } catch {
    return { isTaken: true, isAlignmentNeeded: true };
  } finally {
    closeSync(file);
  }
})();

/** No byte is where it was 256 pages before. */
function content(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let offset = 0; offset + 4 <= sizeBytes; offset += 512) bytes.writeUInt32LE(offset / 512 + 1, offset);
  return bytes.fill(0x77, sizeBytes - (sizeBytes % 512));
}

/** Files below the directory that this process holds open. */
async function openBelow(directory: string): Promise<readonly string[]> {
  const links = await Promise.all((await readdir('/proc/self/fd')).map(async (fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
  return links.filter((path) => path.startsWith(directory));
}

describe.skipIf(!isTaken)('a file that is written past the page cache', () => {
  it('holds what it was given, wherever the pieces are cut and the disk turns out to be slow', async () => {
    await using directory = await temporaryDirectory();
    const path = directory.join('relation');
    const sizes = fc.integer({ min: 0, max: 5 * mebibyte });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 2 * mebibyte }), fc.option(sizes), async (sizeBytes, pieceBytes, slowFrom) => {
        const [bytes, writes] = [content(sizeBytes), new DirectWrites({ watch: busy })];
        let cachedBytes = 0;
        const onCached = (count: number): void => void (cachedBytes += count);
        const sink = new DirectFile({ path, file: openDirect(path, 0o600) ?? -1, sizeBytes, writes, onCached });
        for (let offset = 0; offset < sizeBytes; offset += pieceBytes) {
          if (slowFrom !== null && offset >= slowFrom) writes.giveUp();
          sink.write(bytes.subarray(offset, offset + pieceBytes));
          await writes.room();
        }
        sink.end();
        await sink.finished();
        await writes.close();
        expect((await readFile(path)).equals(bytes)).toBe(true);
        // A larger piece may find no buffer, and does not wait for one.
        const isWaitedFor = slowFrom === null && pieceBytes <= directWriteBytes;
        expect(cachedBytes).toBeLessThanOrEqual(isWaitedFor ? 0 : sizeBytes);
      }),
      { numRuns: 40 },
    );
    expect(await openBelow(directory.path)).toEqual([]);
  });

  it.skipIf(!isAlignmentNeeded)('goes through the page cache where the disk does not take such writes', async () => {
    await using directory = await temporaryDirectory();
    const path = directory.join('relation');
    const bytes = content(5 * mebibyte + 1);
    // No address in it is one that a disk takes.
    const writes = new DirectWrites({ memory: Buffer.alloc(4 * directWriteBytes + 4096).subarray(1), watch: busy });
    const options = { path, file: openDirect(path, 0o600) ?? -1, sizeBytes: bytes.length, writes, onCached: () => undefined };
    const sink = new DirectFile(options);
    sink.write(bytes.subarray(0, 3 * mebibyte));
    await vi.waitFor(() => expect(writes.areWanted).toBe(false));
    sink.write(bytes.subarray(3 * mebibyte));
    sink.end();
    await sink.finished();
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  it('holds what was decompressed into its buffers, and of several in one tar each its own', async () => {
    await using directory = await temporaryDirectory();
    const sizes = fc.array(fc.integer({ min: 0, max: 3 * mebibyte }), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1000, max: 2 * mebibyte }), async (sizesBytes, pieceBytes) => {
        const members = sizesBytes.map((sizeBytes, index) => ({ name: directory.join(String(index)), content: content(sizeBytes) }));
        const stored = zstdCompressSync(tarOf(members));
        const writes = new DirectWrites({ watch: busy });
        const finished: Promise<void>[] = [];
        let copiedBytes = 0;
        const reader = new TarReader(({ name, sizeBytes }) => {
          const sink = new DirectFile({ path: name, file: openDirect(name, 0o600) ?? -1, sizeBytes, writes, onCached: () => undefined });
          const write = (piece: Buffer): void => {
            // Without a buffer, since the disk has them all, the rest goes through the page cache.
            const wanted = sink.target();
            if (wanted !== undefined && piece.buffer !== wanted.buffer) copiedBytes += piece.length;
            sink.write(piece);
          };
          const end = (): void => {
            sink.end();
            finished.push(sink.finished());
          };
          return { write, target: () => sink.target(), end };
        });
        const target = (): Buffer | undefined => reader.target();
        for await (const piece of zstd.decompress(cut(stored, pieceBytes), { inThisThread: true, target })) {
          reader.push(piece);
          await writes.room();
        }
        reader.finish();
        await Promise.all(finished);
        await writes.close();
        for (const { name, content: bytes } of members) expect((await readFile(name)).equals(bytes)).toBe(true);
        // What came with the header before it, and what the very last step made.
        expect(copiedBytes).toBeLessThanOrEqual((members.length + 1) * zlibOutputChunkBytes);
      }),
      { numRuns: 30 },
    );
  });

  it('copies what lies elsewhere in its own memory', async () => {
    await using directory = await temporaryDirectory();
    const path = directory.join('relation');
    const memory = Buffer.alloc(4 * directWriteBytes);
    const writes = new DirectWrites({ memory, watch: busy });
    const sink = new DirectFile({ path, file: openSync(path, 'w'), sizeBytes: 512, writes, onCached: () => undefined });
    // The last of the buffers is taken first.
    const elsewhere = memory.subarray(0, 512).fill(0x11);
    sink.write(elsewhere);
    sink.end();
    await sink.finished();
    await writes.close();
    expect((await readFile(path)).equals(Buffer.alloc(512, 0x11))).toBe(true);
  });

  it('says why it could not be written', async () => {
    const writes = new DirectWrites({ watch: busy });
    const [path, sizeBytes] = ['/dev/full', 2 * mebibyte];
    const sink = new DirectFile({ path, file: openSync(path, 'w'), sizeBytes, writes, onCached: () => undefined });
    sink.write(content(sizeBytes));
    sink.end();
    await expect(sink.finished()).rejects.toMatchObject({ code: 'ENOSPC' });
    await writes.close();
  });

  it('says so before the file is at its end', async () => {
    const writes = new DirectWrites({ watch: busy });
    const [path, sizeBytes] = ['/dev/full', 1024 * mebibyte];
    const sink = new DirectFile({ path, file: openSync(path, 'w'), sizeBytes, writes, onCached: () => undefined });
    const piece = content(mebibyte);
    let takenBytes = 0;
    const takeAll = async (): Promise<void> => {
      for (; takenBytes < sizeBytes; takenBytes += piece.length) {
        sink.write(piece);
        await writes.room();
      }
    };
    await expect(takeAll()).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(takenBytes).toBeLessThan(16 * mebibyte);
    await sink.close();
    await writes.close();
  });
});

describe.skipIf(!isTaken)('a tree of restored files', () => {
  it('writes large files past the page cache, and small ones through it', async () => {
    await using directory = await temporaryDirectory();
    const writes = new DirectWrites({ watch: busy });
    const take = vi.spyOn(writes, 'take');
    const tree = new RestoredTree(writes);
    const bytes = content(20 * mebibyte);
    for (const [name, sizeBytes] of [
      ['small', mebibyte],
      ['large', bytes.length],
    ] as const) {
      const sink = tree.file(directory.join(name), { mode: 0o640, sizeBytes });
      for (let offset = 0; offset < sizeBytes; offset += 256 * 1024) {
        sink.write(bytes.subarray(offset, offset + 256 * 1024));
        await tree.drain();
      }
      sink.end();
      expect(take.mock.calls.length > 0).toBe(name === 'large');
    }
    await tree.sync();
    await tree.close();
    expect((await readFile(directory.join('large'))).equals(bytes)).toBe(true);
    expect((await readFile(directory.join('small'))).equals(bytes.subarray(0, mebibyte))).toBe(true);
    expect((await stat(directory.join('large'))).mode & 0o777).toBe(0o640);
  });

  it('holds no file open when it is given up midway', async () => {
    await using directory = await temporaryDirectory();
    const tree = new RestoredTree(new DirectWrites({ watch: busy }));
    tree.file(directory.join('whole'), { mode: 0o600, sizeBytes: 16 * mebibyte }).write(content(3 * mebibyte));
    expect(await openBelow(directory.path)).toHaveLength(1);
    await tree.close();
    expect(await openBelow(directory.path)).toEqual([]);
  });
});

describe('writes past the page cache', () => {
  /** All buffers are being written; room is waited for, and comes when a tenth of a second and more has gone by. */
  async function waited(watch: () => { busyShare: () => number }): Promise<DirectWrites> {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const writes = new DirectWrites({ memory: Buffer.alloc(2 * directWriteBytes), watch });
    const written = Promise.withResolvers<void>();
    for (const buffer of [writes.take(), writes.take()]) writes.follow(written.promise, buffer ?? Buffer.alloc(0));
    const room = writes.room();
    await nextTurn();
    vi.advanceTimersByTime(150);
    written.resolve();
    await room;
    return writes;
  }

  it('are given up where the processors wait for the disk too', async () => {
    const writes = await waited(idle);
    expect(writes.areWanted).toBe(false);
    expect(writes.take()).toBeUndefined();
  });

  it.each([
    { how: 'busy', watch: busy },
    { how: 'no more than half idle', watch: halfBusy },
  ])('go on where the processors are $how meanwhile', async ({ watch }) => {
    const writes = await waited(watch);
    expect(writes.areWanted).toBe(true);
    expect(writes.take()).toBeDefined();
  });
});

describe('the processors', () => {
  it('are busy while this thread is', () => {
    const watch = new ProcessorWatch();
    const untilMs = performance.now() + 10_000;
    while (watch.busyShare() === 0 && performance.now() < untilMs);
    expect(watch.busyShare()).toBeGreaterThan(0);
    expect(watch.busyShare()).toBeLessThanOrEqual(1);
  });
});
