/**
 * Checks pages while they are on their way into a tar. The server may write a page while it is read: a page that is wrong is read again, and counts as
 * damaged only when it stays wrong (src/backend/backup/basebackup.c, verify_page_checksum and its callers, which read it once more).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockCollector } from './page-damage.ts';
import type { PageMemory } from './page-memory.ts';

/** A write of a page takes microseconds, on a busy disk milliseconds. */
const maximumRereads = 5;
const rereadDelayMs = 4;

/** Pages that were read, and where from. */
export interface ReadPages {
  /** Whole pages, in the memory. */
  readonly pages: Buffer;
  readonly pageBytes: number;
  /** Number of the first page in its relation. */
  readonly block: number;
  /** Fills the buffer anew from that many bytes behind the first page. */
  readonly reread: (page: Buffer, offsetBytes: number) => Promise<void>;
}

/** Checks every page, reads wrong ones again, and tells the collector of those that stay wrong. */
export async function checkPages(memory: PageMemory, read: ReadPages, damaged: BlockCollector): Promise<void> {
  const { pages, pageBytes, block } = read;
  const pageCount = pages.length / pageBytes;
  for (let index = 0; index < pageCount; index += 1) {
    index += memory.goodPages(pages.subarray(index * pageBytes), { pageBytes, block: block + index });
    if (index < pageCount && !(await becomesGood(memory, read, index))) damaged.add(block + index);
  }
}

async function becomesGood(memory: PageMemory, { pages, pageBytes, block, reread }: ReadPages, index: number): Promise<boolean> {
  const page = pages.subarray(index * pageBytes, (index + 1) * pageBytes);
  for (let attempt = 1; attempt <= maximumRereads; attempt += 1) {
    await reread(page, index * pageBytes);
    if (memory.goodPages(page, { pageBytes, block: block + index }) === 1) return true;
    await delay(rereadDelayMs);
  }
  return false;
}
