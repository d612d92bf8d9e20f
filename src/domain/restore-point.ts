/** A named place in the WAL, made by pg_create_restore_point (PostgreSQL manual, section 9.28.1). */
import type { TimelineId } from './wal-segment.ts';

/** JSON-safe. */
export interface RestorePoint {
  readonly name: string;
  /** End of its record, `0/5000028`. */
  readonly lsn: string;
  /** RFC 3339, by the source's clock. */
  readonly time: string;
  readonly timeline: TimelineId;
}
