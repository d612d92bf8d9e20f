/** Content of a stored object that is held in memory whole: WAL segments and small files. */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import { freeMemory } from '../storage/free-memory.ts';
import type { ObjectBody } from '../storage/object-store.ts';
import type { Chunks } from './compression/codec.ts';
import { collect, damaged } from './documents/stored-document.ts';

/** Room for the frame around data that does not compress. */
const compressionOverheadBytes = 1024 * 1024;
/** Decompressing so much takes about a millisecond; then others on the thread have their turn. */
const turnBytes = 1024 * 1024;

/** How an object is read. */
export interface StoredContentOptions {
  /** From stored bytes to content. */
  readonly read: (stored: Chunks) => AsyncIterable<Buffer>;
  /** Of the stored bytes. Undefined: not checked. */
  readonly expectedSha256: string | undefined;
  readonly maximumBytes: number;
  /** Takes the content when it is large enough for any, so that no memory is made. */
  readonly room: Buffer;
}

/** Reads an object. @throws WalkbackError OBJECT_DAMAGED naming the key, and what the store throws */
export async function readStoredContent(object: ObjectBody, options: StoredContentOptions): Promise<Buffer> {
  const { read, expectedSha256, maximumBytes, room } = options;
  const { key } = object.info;
  const stored = await collect(object, maximumBytes + compressionOverheadBytes);
  if (expectedSha256 !== undefined && expectedSha256 !== sha256Of(stored))
    throw damaged(key, `the SHA-256 of its bytes is not ${expectedSha256}`);
  try {
    const chunks = read([stored]);
    const content =
      room.length < maximumBytes ? await collectedContent(chunks, maximumBytes) : await contentInto(room, chunks, maximumBytes);
    // The content is in memory of its own. Not after a failure: a thread that decompresses may still read what was stored.
    freeMemory(stored);
    return content;
  } catch (error) {
    throw unreadable(key, error);
  }
}

/** What went wrong while a stored object was read, when it is no error of ours already. */
export function unreadable(key: string, error: unknown): WalkbackError {
  return error instanceof WalkbackError ? error : damaged(key, messageOf(error), error);
}

/** All bytes at once, in memory of their own. @throws RangeError when there are more */
export async function collectedContent(chunks: AsyncIterable<Buffer>, maximumBytes: number = Infinity): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    assertFits(sizeBytes, maximumBytes);
    pieces.push(Buffer.from(chunk));
  }
  return Buffer.concat(pieces, sizeBytes);
}

/** SHA-256 in hexadecimal digits. */
export function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function contentInto(room: Buffer, chunks: AsyncIterable<Buffer>, maximumBytes: number): Promise<Buffer> {
  let sizeBytes = 0;
  let turnEndsAtBytes = turnBytes;
  for await (const chunk of chunks) {
    assertFits(sizeBytes + chunk.length, maximumBytes);
    sizeBytes += chunk.copy(room, sizeBytes);
    if (sizeBytes < turnEndsAtBytes) continue;
    turnEndsAtBytes = sizeBytes + turnBytes;
    await nextTurn();
  }
  return room.subarray(0, sizeBytes);
}

function assertFits(sizeBytes: number, maximumBytes: number): void {
  if (sizeBytes > maximumBytes) throw new RangeError(`it decompresses to more than ${maximumBytes} bytes`);
}
