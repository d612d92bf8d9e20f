/** Waiting for WAL in the archive. PostgreSQL's own wait polls once a second (postgres-recovery.md, M25); the archive itself is asked here. */
import { type Patience, retryWhileUnavailable } from '../agent/retry.ts';
import { createWalArchive } from '../archive/wal-archive.ts';
import { WalkbackError } from '../domain/errors.ts';
import { defaultWalSegmentBytes } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { awaitValue } from './await-condition.ts';

const pollIntervalMs = 100;
/** How long a store may fail to answer: the steps that wait here are among those that are tried only a few times. */
const storePatience: Patience = { totalMs: 60_000, firstDelayMs: 250, maximumDelayMs: 5_000 };

/**
 * Waits until every named segment is stored.
 * @throws WalkbackError WAL_NOT_ARCHIVED naming the first that is not; the store's own error when it gives no answer for a minute, or for timeoutMs if that is less
 */
export async function awaitSegmentsArchived(
  store: ObjectStore,
  segments: readonly string[],
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly segmentBytes?: number },
): Promise<void> {
  // Whether an object exists is asked, not what it holds: compression and encryption play no part.
  const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: options.segmentBytes ?? defaultWalSegmentBytes });
  const patience = { ...storePatience, totalMs: Math.min(storePatience.totalMs, options.timeoutMs) };
  for (const segment of segments) {
    const isThere = () =>
      retryWhileUnavailable(() => archive.has(segment, { signal: options.signal }), { ...patience, signal: options.signal });
    await awaitValue(async () => ((await isThere()) ? true : undefined), {
      ...options,
      pollIntervalMs,
      onTimeout: () =>
        new WalkbackError(
          'WAL_NOT_ARCHIVED',
          `The segment ${segment} has not arrived in ${store.url} within ${options.timeoutMs / 1000} s.`,
          { facts: { segment, archive: store.url } },
        ),
    });
  }
}
