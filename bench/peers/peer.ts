/** What every contestant can do. Each has one archive, which its base backups and its WAL go to and come from. */
import type { Measurement } from '../measure/measure.ts';
import type { UsageScope } from '../measure/usage-watch.ts';
import type { BenchWal } from '../site/source.ts';

/** Against whom we are measured, and we. */
export type PeerName = 'walkback' | 'wal-g' | 'pgbackrest' | 'local-files';

/** A restore_command that can be run now. */
export interface WalAccess {
  /** As PostgreSQL takes it, with %f and %p. */
  readonly restoreCommand: string;
  /** What counts as the contestant's, beside the commands themselves. */
  readonly usage: UsageScope;
  close(): Promise<void>;
}

/** A contestant at one setting. */
export interface Peer {
  readonly name: PeerName;
  /** Of several settings the best counts. */
  readonly variant: string;
  /** Does its base backup need a source that archives? Then it does not wait for the last segment within what is measured. */
  readonly needsArchiving: boolean;
  /** Whether the base backup is the first of an emptied archive. */
  pushBaseBackup(): Promise<Measurement>;
  /** Into a directory that is not there. */
  fetchBaseBackup(into: string): Promise<Measurement>;
  readonly archiveCommand: string;
  /** What counts as the contestant's while its archive_command runs, beside the commands themselves. */
  readonly archiveUsage: UsageScope;
  /** Removes segments from the archive, and whatever the contestant remembers of having stored them. */
  forgetWal(names: readonly string[]): Promise<void>;
  /** Those of the segments that the archive holds. */
  heldWal(names: readonly string[]): Promise<readonly string[]>;
  /** Gets ready to serve the WAL of a restore into the directory. */
  openWal(dataDirectory: string, wal: BenchWal): Promise<WalAccess>;
  /** From nothing to promoted and writable; undefined when that is not what the contestant is for. */
  restoreAll?(restore: WholeRestore): Promise<Measurement>;
  /** The same; measured is what is neither fetching nor replaying nor PostgreSQL's own start and stop. */
  orchestrate?(restore: WholeRestore): Promise<Measurement>;
}

/** A whole restore. */
export interface WholeRestore {
  readonly dataDirectory: string;
  readonly port: number;
  readonly wal: BenchWal;
}

/** For people. */
export function labelOf(peer: Pick<Peer, 'name' | 'variant'>): string {
  return peer.variant === '' ? peer.name : `${peer.name} (${peer.variant})`;
}
