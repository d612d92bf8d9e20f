/** Checks of the ranges that readers ask for. */
import { WalkbackError } from '../domain/errors.ts';
import type { ByteRange } from './object-store.ts';

/** Refuses a range that is empty or not made of whole numbers. @throws WalkbackError INVALID_REQUEST */
export function requireRange(range: ByteRange | undefined): void {
  if (range === undefined) return;
  const { startBytes, endBytes = Number.MAX_SAFE_INTEGER } = range;
  if (Number.isSafeInteger(startBytes) && Number.isSafeInteger(endBytes) && startBytes >= 0 && endBytes > startBytes) return;
  throw new WalkbackError('INVALID_REQUEST', `${startBytes} to ${range.endBytes} is not a range of bytes.`, {
    hint: 'The start is 0 or more, and the end, which is not part of the range, lies after it.',
  });
}

/** The error for a range that begins at or after the end of the object. */
export function rangeBeyondEnd(url: string, startBytes: number, cause?: unknown): WalkbackError {
  return new WalkbackError('INVALID_REQUEST', `${url} has no byte ${startBytes}: the range begins after its end.`, {
    facts: { url, startBytes },
    cause,
  });
}
