/** What a fetch tells of itself. */

/** How far a fetch is, in bytes and tars as they are stored. */
export interface FetchProgress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly partsDone: number;
  readonly partsTotal: number;
}

export interface FetchedBaseBackup {
  /** Stored bytes that this call fetched. */
  readonly bytes: number;
  /** Tars of the backup and of those that it builds on, as far as they were needed. */
  readonly parts: number;
  /** Those that an earlier call had brought. */
  readonly partsAlreadyFetched: number;
}
