/** Which deltas of a catalogue can be restored: those whose chain down to a full backup is in it too. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { parseLsn } from '../domain/lsn.ts';

/** The backups that can be restored as far as the catalogue tells, each delta with the room that it needs. */
export function withWholeChains(backups: readonly BaseBackup[]): readonly BaseBackup[] {
  const listed = new Map(backups.map((backup) => [backup.name, backup]));
  return backups.flatMap((backup) => {
    const chain = chainOf(backup, listed);
    if (chain === undefined) return [];
    return chain.length === 1 ? [backup] : [{ ...backup, restoredBytes: restoredBytesOf(chain) }];
  });
}

/** The full backup first, the delta itself last; undefined when one of them is not there or cannot be used. */
function chainOf(backup: BaseBackup, listed: ReadonlyMap<string, BaseBackup>): readonly BaseBackup[] | undefined {
  const chain = [backup];
  for (let above = backup; above.deltaFrom !== undefined;) {
    const parent = listed.get(above.deltaFrom);
    // A parent starts before its delta; asking for it ends chains that lead back to themselves.
    if (parent === undefined || parseLsn(parent.startLsn) >= parseLsn(above.startLsn)) return undefined;
    chain.unshift(parent);
    above = parent;
  }
  return chain;
}

/**
 * Most bytes that the files take while the chain is applied. Where each delta says how large the cluster was, that is known; else all backups
 * together are an upper bound. A delta's tars are kept until they are proven: all of them at once, at worst.
 */
function restoredBytesOf(chain: readonly BaseBackup[]): number {
  const deltas = chain.filter(({ deltaFrom }) => deltaFrom !== undefined);
  const keptBytes = Math.max(...deltas.map(({ compressedBytes }) => compressedBytes));
  const clusterBytes = deltas.map(({ restoredBytes }) => restoredBytes ?? Infinity);
  const summedBytes = chain.reduce((total, { uncompressedBytes }) => total + uncompressedBytes, 0);
  return keptBytes + Math.min(summedBytes, Math.max(chain[0]?.uncompressedBytes ?? 0, ...clusterBytes));
}
