/** Waiting for WAL in the archive. PostgreSQL's own wait polls once a second (postgres-recovery.md, M25); the archive itself is asked here. */
import { createWalArchive } from '../archive/wal-archive.ts';
import { WalkbackError } from '../domain/errors.ts';
import { defaultWalSegmentBytes } from '../domain/wal-segment.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import { awaitValue } from './await-condition.ts';

const pollIntervalMs = 100;

/** Waits until every named segment is stored. @throws WalkbackError WAL_NOT_ARCHIVED naming the first that is not */
export async function awaitSegmentsArchived(
  store: ObjectStore,
  segments: readonly string[],
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly segmentBytes?: number },
): Promise<void> {
  // Whether an object exists is asked, not what it holds: compression and encryption play no part.
  const archive = createWalArchive(store, { compression: 'zstd', segmentBytes: options.segmentBytes ?? defaultWalSegmentBytes });
  for (const segment of segments) {
    await awaitValue(async () => ((await archive.has(segment, { signal: options.signal })) ? true : undefined), {
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
