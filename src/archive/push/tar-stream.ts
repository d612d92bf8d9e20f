/**
 * The bytes of a tar made of files that a server is writing to. Content is read straight into the chunks that go to the compressor; small files are
 * read several at a time. Memory: three chunks and one batch of small files, 5 MiB.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { compressorChunkBytes, compressorQueueChunks } from '../compression/codec.ts';
import { isAbsent } from '../../files/system-error.ts';
import { tarEnd, tarHeader, tarPaddingBytes } from '../tar-writer.ts';
import type { WalkedFile } from './data-directory-walk.ts';

/** Files up to this size are read whole, and in batches: 64 KiB. */
const smallFileBytes = 64 * 1024;
const smallBatchFiles = 32;

/** Told of what goes into the tar. */
interface TarObserver {
  readonly onFile: (file: WalkedFile) => void;
  readonly onContent: (sizeBytes: number) => void;
}

/**
 * The tar of the files. Its chunks are meant for a codec's compressor: their buffers are filled anew.
 * A file that vanished is left out, one that shrank is filled up with zeros, one that grew is cut at the size it had when it was walked: WAL
 * replay puts all of that right (PostgreSQL manual, "Backing Up the Data Directory").
 */
export async function* tarOfFiles(files: readonly WalkedFile[], observer: TarObserver): AsyncGenerator<Buffer> {
  const chunks = new ChunkRing();
  for (const batch of batches(files)) {
    const [first] = batch;
    if (first !== undefined && first.sizeBytes > smallFileBytes) yield* largeFile(first, chunks, observer);
    else yield* smallFiles(batch, chunks, observer);
  }
  yield* chunks.append(tarEnd);
  yield chunks.rest();
}

/** Neighbours that are small together, each large file alone. */
function* batches(files: readonly WalkedFile[]): Generator<readonly WalkedFile[]> {
  let batch: WalkedFile[] = [];
  for (const file of files) {
    const isLarge = file.sizeBytes > smallFileBytes;
    if (batch.length > 0 && (isLarge || batch.length >= smallBatchFiles)) {
      yield batch;
      batch = [];
    }
    if (isLarge) yield [file];
    else batch.push(file);
  }
  if (batch.length > 0) yield batch;
}

async function* smallFiles(batch: readonly WalkedFile[], chunks: ChunkRing, observer: TarObserver): AsyncGenerator<Buffer> {
  const contents = await Promise.all(batch.map(readSmallFile));
  for (const [index, file] of batch.entries()) {
    const content = contents[index];
    if (content === undefined) continue;
    yield* chunks.append(headerOf(file));
    yield* chunks.append(content);
    yield* chunks.append(zeros(tarPaddingBytes(file.sizeBytes)));
    observer.onFile(file);
    observer.onContent(file.sizeBytes);
  }
}

/** @returns undefined when the file vanished */
async function readSmallFile(file: WalkedFile): Promise<Buffer | undefined> {
  if (file.type === 'directory') return Buffer.alloc(0);
  await using source = await openSource(file.path);
  if (source === undefined) return undefined;
  const content = Buffer.allocUnsafe(file.sizeBytes);
  await fill(source, content, 0);
  return content;
}

async function* largeFile(file: WalkedFile, chunks: ChunkRing, observer: TarObserver): AsyncGenerator<Buffer> {
  await using source = await openSource(file.path);
  if (source === undefined) return;
  yield* chunks.append(headerOf(file));
  for (let readBytes = 0; readBytes < file.sizeBytes;) {
    const space = chunks.space(file.sizeBytes - readBytes);
    await fill(source, space, readBytes);
    readBytes += space.length;
    observer.onContent(space.length);
    yield* chunks.advance(space.length);
  }
  yield* chunks.append(zeros(tarPaddingBytes(file.sizeBytes)));
  observer.onFile(file);
}

async function openSource(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Fills the buffer from the position on, with zeros where the file has ended. */
async function fill(source: FileHandle, buffer: Buffer, positionBytes: number): Promise<void> {
  for (let filledBytes = 0; filledBytes < buffer.length;) {
    const { bytesRead } = await source.read(buffer, filledBytes, buffer.length - filledBytes, positionBytes + filledBytes);
    if (bytesRead === 0) {
      buffer.fill(0, filledBytes);
      return;
    }
    filledBytes += bytesRead;
  }
}

function headerOf(file: WalkedFile): Buffer {
  return tarHeader({
    name: file.memberName,
    type: file.type,
    mode: file.mode,
    sizeBytes: file.sizeBytes,
    changedSeconds: Number(file.changedNs / 1_000_000_000n),
  });
}

function zeros(sizeBytes: number): Buffer {
  return tarEnd.subarray(0, sizeBytes);
}

/** Buffers that are filled in turn: as many as the compressor may hold before it has the writer wait until all are done. */
class ChunkRing {
  readonly #buffers = Array.from({ length: compressorQueueChunks }, () => Buffer.allocUnsafe(compressorChunkBytes));
  #index = 0;
  #usedBytes = 0;

  /** Copies bytes in; yields every chunk that becomes full. */
  *append(bytes: Buffer): Generator<Buffer> {
    for (let copiedBytes = 0; copiedBytes < bytes.length;) {
      const space = this.space(bytes.length - copiedBytes);
      copiedBytes += bytes.copy(space, 0, copiedBytes);
      yield* this.advance(space.length);
    }
  }

  /** Room in the current chunk for at most so many bytes. */
  space(maximumBytes: number): Buffer {
    const current = this.#buffers[this.#index] ?? Buffer.alloc(0);
    return current.subarray(this.#usedBytes, this.#usedBytes + maximumBytes);
  }

  /** Counts bytes that were put into the room; yields the chunk when it is full. */
  *advance(sizeBytes: number): Generator<Buffer> {
    this.#usedBytes += sizeBytes;
    if (this.#usedBytes === compressorChunkBytes) yield this.rest();
  }

  /** What was filled so far; the next buffer takes over. */
  rest(): Buffer {
    const full = (this.#buffers[this.#index] ?? Buffer.alloc(0)).subarray(0, this.#usedBytes);
    this.#index = (this.#index + 1) % compressorQueueChunks;
    this.#usedBytes = 0;
    return full;
  }
}
