/** The WAL of one archive, as the agent needs it. src/archive/wal-archive.ts is the implementation. */

/** Files are verified both ways: a segment's header must fit its name and the cluster's system identifier. */
export interface WalFiles {
  /**
   * Stores a file under its name; durable when it resolves.
   * @throws WalkbackError WAL_REFUSED, WAL_CONFLICT, STORAGE_UNREACHABLE, STORAGE_ACCESS_DENIED
   */
  push(file: {
    readonly path: string;
    readonly name: string;
    readonly systemIdentifier: string;
    readonly signal?: AbortSignal;
  }): Promise<'stored' | 'already-stored'>;
  /**
   * Brings a file to the destination: complete and synced before it has that name.
   * @returns 'absent' only when the store proved that it does not hold the file
   * @throws WalkbackError OBJECT_DAMAGED, WAL_REFUSED, STORAGE_UNREACHABLE, STORAGE_ACCESS_DENIED
   */
  fetch(file: {
    readonly name: string;
    readonly destination: string;
    readonly systemIdentifier?: string;
    readonly signal?: AbortSignal;
  }): Promise<'fetched' | 'absent'>;
}
