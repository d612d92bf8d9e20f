/** What of a relation's file changed since the parent backup (wal-g: internal/databases/postgres/incremental_page_reader.go). */

import type { DamagedBlocks } from './page-damage.ts';

/** A file of which only some pages are stored. */
export interface Increment {
  /** Size of the whole file. */
  readonly fileBytes: number;
  /** Pages that are stored, ascending, numbered within the file. */
  readonly blocks: Uint32Array;
  readonly blockBytes: number;
  /** What was found when the whole file was read; undefined when it was not, or when that says nothing of the restored file. */
  readonly known: WholeFile | undefined;
}

/** A file that was read whole before its changed pages are. */
interface WholeFile {
  /** As backup_manifest has it. It holds for the restored file if the changed pages are still those when they are stored. */
  readonly checksum: string;
  /** CRC-32C of each page that is stored. */
  readonly pageCrcs: Uint32Array;
  /** Damaged pages among those that are not stored. */
  readonly damagedBlocks: DamagedBlocks | undefined;
}

/** "wi", version "1", and the signature byte. */
const magic = Buffer.from([0x77, 0x69, 0x31, 0x55]);
const fixedBytes = 16;

/** Size of the increment as a tar member. */
export function incrementBytes({ blocks, blockBytes }: Pick<Increment, 'blocks' | 'blockBytes'>): number {
  return fixedBytes + blocks.length * (4 + blockBytes);
}

/** What stands before the pages: the size of the file and the numbers of the pages. */
export function incrementHeader({ fileBytes, blocks }: Increment): Buffer {
  const header = Buffer.alloc(fixedBytes + blocks.length * 4);
  magic.copy(header);
  header.writeBigUInt64LE(BigInt(fileBytes), 4);
  header.writeUInt32LE(blocks.length, 12);
  for (const [index, block] of blocks.entries()) header.writeUInt32LE(block, fixedBytes + index * 4);
  return header;
}

/** Neighbouring pages together, at most so many, each run with its first page and its length. */
export function* runsOf(blocks: Uint32Array, maximumLength: number): Generator<{ readonly first: number; readonly length: number }> {
  for (let index = 0; index < blocks.length;) {
    const first = blocks[index] ?? 0;
    let length = 1;
    while (length < maximumLength && blocks[index + length] === first + length) length += 1;
    yield { first, length };
    index += length;
  }
}
