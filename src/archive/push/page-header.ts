/** The head of a page (src/include/storage/bufpage.h, PageHeaderData), as far as it says whether the page changed. */
import type { Lsn } from '../../domain/lsn.ts';

const headerBytes = 24;
/** PD_VALID_FLAG_BITS. */
const validFlags = 0x0007;
/** PG_PAGE_LAYOUT_VERSION. */
const layoutVersion = 4;

/**
 * Did the page change at or after the position? A page that was never written counts as changed, as nothing says when it came to be.
 * @returns 'no-page' when the header is none
 */
export function changeOf(page: Buffer, since: Lsn): 'changed' | 'unchanged' | 'no-page' {
  const upper = page.readUInt16LE(14);
  if (upper === 0) return 'changed';
  if (!isPage(page, upper)) return 'no-page';
  const [high, low] = [page.readUInt32LE(0), page.readUInt32LE(4)];
  const [sinceHigh, sinceLow] = [Number(since >> 32n), Number(since & 0xffff_ffffn)];
  return high > sinceHigh || (high === sinceHigh && low >= sinceLow) ? 'changed' : 'unchanged';
}

/** As PageIsVerified has it (src/backend/storage/page/bufpage.c). */
function isPage(page: Buffer, upper: number): boolean {
  const [flags, lower, special] = [page.readUInt16LE(10), page.readUInt16LE(12), page.readUInt16LE(16)];
  const isInOrder = lower >= headerBytes && lower <= upper && upper <= special && special <= page.length;
  return isInOrder && (flags & ~validFlags) === 0 && page.readUInt16LE(18) === (page.length | layoutVersion);
}
