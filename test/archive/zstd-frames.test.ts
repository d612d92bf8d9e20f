import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Chunks, compressorChunkBytes, compressorQueueChunks } from '../../src/archive/compression/codec.ts';
import { openZstdContext } from '../../src/archive/compression/zstd-context.ts';
import { FrameWalk } from '../../src/archive/compression/zstd-frame-walk.ts';
import { FramePacker, frameParameters, wholeMaximumBytes } from '../../src/archive/compression/zstd-frame.ts';
import { zstd } from '../../src/archive/compression/zstd.ts';
import { packFrame, packingThreadsMaximum, readyPackingThreads } from '../../src/archive/packing-threads.ts';
import { patternBytes } from './support/data-directory.ts';
import { collected, cut } from './support/pieces.ts';

const text = Buffer.from(Array.from({ length: 40 }, (_, index) => `line ${(index % 7) * index} of a text that repeats\n`).join(''));
const inThisThread = { inThisThread: true };
/** By threads that decompress one frame after the other, and by the thread that reads. */
const readers = { 'by streams': {}, 'in the calling thread': inThisThread } as const;

function frameRooms(chunkBytes: number = compressorChunkBytes): Buffer<SharedArrayBuffer>[] {
  const sizeBytes = wholeMaximumBytes(chunkBytes);
  return Array.from({ length: compressorQueueChunks }, () => Buffer.from(new SharedArrayBuffer(sizeBytes)));
}

/** The content in buffers that are filled anew as soon as they may be. */
function* sharedChunks(content: Buffer, chunkBytes: number): Generator<Buffer> {
  const ring = Array.from({ length: compressorQueueChunks }, () => Buffer.from(new SharedArrayBuffer(chunkBytes)));
  for (const [index, piece] of [...cut(content, chunkBytes)].entries()) {
    const buffer = ring[index % ring.length]!;
    piece.copy(buffer);
    yield buffer.subarray(0, piece.length);
  }
}

async function framed(content: Buffer, chunkBytes: number = compressorChunkBytes): Promise<Buffer> {
  return await collected(zstd.compress(sharedChunks(content, chunkBytes), { frameRooms: frameRooms() }));
}

/** Where frames end, as the walk finds it in pieces of that size. */
function endsOf(stored: Buffer, pieceBytes: number): number[] {
  const walk = new FrameWalk();
  const ends: number[] = [];
  let takenBytes = 0;
  for (const piece of cut(stored, pieceBytes)) {
    for (let rest = piece; rest.length > 0;) {
      const { sizeBytes, isEnd } = walk.take(rest);
      takenBytes += sizeBytes;
      rest = rest.subarray(sizeBytes);
      if (isEnd) ends.push(takenBytes);
    }
  }
  return ends;
}

/** Those that were started in this process. */
const packingThreads: Worker[] = [];
process.on('worker', (worker) => packingThreads.push(worker));

const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

describe('what this version of Node can do', () => {
  it('is to compress and decompress step by step', () => {
    for (const kind of ['compress', 'decompress'] as const) {
      using context = openZstdContext(kind);
      expect(context).toBeDefined();
    }
  });
});

describe('frames that threads pack', () => {
  it.each(Object.entries(readers))('are read %s, whatever the pieces', async (_name, options) => {
    const piecesBytes = fc.integer({ min: 1, max: 3000 });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 9000 }), piecesBytes, piecesBytes, async (bytes, writtenBytes, readBytes) => {
        const content = Buffer.from(bytes);
        const stored = await framed(content, writtenBytes);
        expect((await collected(zstd.decompress(cut(stored, readBytes), options))).equals(content)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it.each(Object.entries(readers))('hold what is hard and what is easy to compress, in order, read %s', async (_name, options) => {
    const content = Buffer.concat([randomBytes(5_000_000), patternBytes(6_000_000, 'one'), Buffer.alloc(4_000_000)]);
    const stored = await framed(content);
    for (const pieceBytes of [64 * 1024, 1024 * 1024, stored.length])
      expect((await collected(zstd.decompress(cut(stored, pieceBytes), options))).equals(content), `${pieceBytes}`).toBe(true);
  });

  it('are decompressed to where their content is wanted', async () => {
    const targetsBytes = fc.array(fc.option(fc.integer({ min: 1, max: 4000 })), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 9000 }),
        fc.integer({ min: 1, max: 3000 }),
        targetsBytes,
        async (bytes, pieceBytes, targets) => {
          const content = Buffer.from(bytes);
          const [stored, memory] = [await framed(content, pieceBytes), Buffer.alloc(content.length)];
          let [doneBytes, asked] = [0, 0];
          let target: Buffer | undefined;
          const next = (): Buffer | undefined => {
            const sizeBytes = targets[asked++ % targets.length] ?? 0;
            const free = memory.subarray(doneBytes, doneBytes + sizeBytes);
            target = free.length === 0 ? undefined : free;
            return target;
          };
          for await (const piece of zstd.decompress(cut(stored, pieceBytes), { ...inThisThread, target: next })) {
            const isInPlace = piece.buffer === memory.buffer;
            expect(isInPlace).toBe(target !== undefined);
            expect(isInPlace ? piece.byteOffset - memory.byteOffset : doneBytes).toBe(doneBytes);
            piece.copy(memory, doneBytes);
            doneBytes += piece.length;
          }
          expect(doneBytes).toBe(content.length);
          expect(asked).toBeGreaterThanOrEqual(Math.sign(content.length));
          expect(memory.equals(content)).toBe(true);
        },
      ),
    );
  });

  it('come from a few threads, for whom many parts wait their turn', async () => {
    const contents = Array.from({ length: 12 }, (_, index) => patternBytes(1_500_000 + index, `part ${index}`));
    const stored = await Promise.all(contents.map(async (content) => framed(content, 300_000)));
    for (const [index, content] of contents.entries())
      expect((await collected(zstd.decompress([stored[index]!]))).equals(content), `${index}`).toBe(true);
  });

  it('come from another thread when one has ended while it had nothing to do', async () => {
    await framed(text);
    expect(packingThreads.length).toBeGreaterThan(0);
    await Promise.all(packingThreads.map(async (worker) => worker.terminate()));
    const stored = await Promise.all(Array.from({ length: packingThreadsMaximum + 1 }, async () => framed(text)));
    for (const frame of stored) expect((await collected(zstd.decompress([frame]))).equals(text)).toBe(true);
  });

  it('come from the threads that were started for them before', async () => {
    await Promise.all(packingThreads.splice(0).map(async (worker) => worker.terminate()));
    readyPackingThreads();
    readyPackingThreads();
    await setImmediate();
    expect(packingThreads).toHaveLength(packingThreadsMaximum);
    await Promise.all(Array.from({ length: 3 * packingThreadsMaximum }, async () => framed(text)));
    expect(packingThreads).toHaveLength(packingThreadsMaximum);
  });

  it('are made for what is more urgent first, whoever came first', async () => {
    const ended: string[] = [];
    const input = new SharedArrayBuffer(compressorChunkBytes);
    randomBytes(compressorChunkBytes).copy(Buffer.from(input));
    // Nobody reads what comes out.
    const memory = { input, inputOffsetBytes: 0, inputBytes: compressorChunkBytes, output: frameRooms()[0]!.buffer };
    const pack = async (name: string, urgency: number): Promise<void> => {
      await packFrame(memory, urgency);
      ended.push(name);
    };
    // Many, and hard enough that a thread which has to wait for a processor is not overtaken by all of them.
    const patient = Array.from({ length: 60 * packingThreadsMaximum }, async () => pack('patient', 1));
    await Promise.all([...patient, pack('urgent', 2), pack('most urgent', Infinity)]);
    expect(ended).toHaveLength(patient.length + 2);
    expect(ended.indexOf('urgent')).toBeLessThan(patient.length / 2);
    expect(ended.indexOf('most urgent')).toBeLessThan(patient.length / 2);
  });

  it('are one for each chunk', async () => {
    expect(endsOf(await framed(patternBytes(2_500_000, 'one')), 1000)).toHaveLength(3);
  });

  it('are not being packed any more when the packing has ended early', async () => {
    // Large ones take the threads a while.
    const chunkBytes = 8 * compressorChunkBytes;
    const contents = Array.from({ length: compressorQueueChunks }, () => randomBytes(chunkBytes));
    const chunks = contents.flatMap((content) => [...sharedChunks(content, chunkBytes)]);
    const rooms = frameRooms(chunkBytes);
    for await (const piece of zstd.compress(chunks, { frameRooms: rooms })) {
      expect(piece.length).toBeGreaterThan(chunkBytes);
      break;
    }
    // Their owner uses them again.
    for (const chunk of chunks) chunk.fill(0);
    // The same threads take what comes later when they are done with what came before.
    await Promise.all(Array.from({ length: packingThreadsMaximum }, async () => framed(text)));
    for (const [index, room] of rooms.entries()) {
      const frame = room.subarray(0, new FrameWalk().take(room).sizeBytes);
      expect((await collected(zstd.decompress([frame]))).equals(contents[index]!), `${index}`).toBe(true);
    }
  });

  it('are refused for memory that threads cannot see', async () => {
    await expect(collected(zstd.compress([text], { frameRooms: frameRooms() }))).rejects.toThrow('memory that is shared');
  });

  it('are the same where a version of Node cannot compress step by step', () => {
    const [output, other] = [Buffer.alloc(wholeMaximumBytes(text.length)), Buffer.alloc(wholeMaximumBytes(text.length))];
    const sizeBytes = new FramePacker().pack(text, output);
    expect(new FramePacker(() => undefined).pack(text, other)).toBe(sizeBytes);
    expect(other.subarray(0, sizeBytes).equals(output.subarray(0, sizeBytes))).toBe(true);
  });

  it('do not fit into a smaller room than the worst case takes', () => {
    expect(() => new FramePacker().pack(text, Buffer.alloc(text.length))).toThrow(RangeError);
  });
});

describe.each(Object.entries(readers))('objects read %s', (_name, options) => {
  const read = async (chunks: Chunks): Promise<Buffer> => await collected(zstd.decompress(chunks, options));

  it('may be one large frame, as WAL-G writes them, others behind it, and frames that hold nothing', async () => {
    const large = patternBytes(5_000_000, 'one');
    const streamed = await collected(createZstdCompress({ params: frameParameters }).end(large));
    const stored = Buffer.concat([skippable, streamed, zstdCompressSync(text), skippable, zstdCompressSync(large)]);
    for (const pieceBytes of [7777, 1024 * 1024, stored.length])
      expect((await read(cut(stored, pieceBytes))).equals(Buffer.concat([large, text, large])), `${pieceBytes}`).toBe(true);
  });

  it('leave the rest of their bytes when nobody wants it, and say so', async () => {
    const stored = await framed(randomBytes(3_000_000));
    let isClosed = false;
    const chunks = function* (): Generator<Buffer> {
      try {
        yield* cut(stored, 64 * 1024);
      } finally {
        isClosed = true;
      }
    };
    for await (const piece of zstd.decompress(chunks(), options)) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    expect(isClosed).toBe(true);
  });

  it('are refused when they end early, go on behind their end, or have another byte', async () => {
    const stored = await framed(text, 1000);
    const [firstEnd = 0] = endsOf(stored, stored.length);
    expect(firstEnd).toBeLessThan(stored.length);
    for (const keptBytes of [0, 1, 12, firstEnd - 1, firstEnd + 1, firstEnd + 4, stored.length - 5, stored.length - 1])
      await expect(read(cut(stored.subarray(0, keptBytes), 7)), `${keptBytes}`).rejects.toThrow('unexpected end of file');
    await expect(read([stored, Buffer.from('more than nothing')])).rejects.toThrow('Unknown frame descriptor');
    for (let offset = 0; offset < stored.length; offset += 1) {
      const changed = Buffer.from(stored);
      changed.writeUInt8(changed.readUInt8(offset) ^ 0x10, offset);
      // A bit of the header may be one that nobody uses; the content is never another.
      const content = await read([changed]).catch(() => text);
      expect(content.equals(text), `${offset}`).toBe(true);
    }
  });
});

describe('the walk over frames', () => {
  it('finds where each ends, whatever it holds and whatever the pieces', () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
      fc.integer({ min: 0, max: 400_000 }).map((sizeBytes) => Buffer.alloc(sizeBytes, 'x')),
      fc.integer({ min: 0, max: 300_000 }).map((sizeBytes) => patternBytes(sizeBytes, 'three')),
    );
    const frame = fc.tuple(content, fc.boolean(), fc.boolean()).map(([bytes, hasChecksum, hasSize]) =>
      zstdCompressSync(bytes, {
        params: { [constants.ZSTD_c_checksumFlag]: hasChecksum ? 1 : 0, [constants.ZSTD_c_contentSizeFlag]: hasSize ? 1 : 0 },
      }),
    );
    const frames = fc.array(fc.oneof({ weight: 5, arbitrary: frame }, fc.constant(skippable)), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 5000 }), (all, pieceBytes) => {
        let endBytes = 0;
        const ends = all.map(({ length }) => (endBytes += length));
        expect(endsOf(Buffer.concat(all), pieceBytes)).toEqual(ends);
      }),
      { numRuns: 60 },
    );
  });

  it('takes all that is no frame, and does not end', () => {
    const walk = new FrameWalk();
    expect(walk.take(zstdCompressSync(text)).isEnd).toBe(true);
    expect(walk.take(text)).toEqual({ sizeBytes: text.length, isEnd: false });
  });
});
