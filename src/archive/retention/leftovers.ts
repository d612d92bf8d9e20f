/** Folders without a sentinel: which of them retention sweeps. */
import type { FolderSize, RetentionState } from './retention-state.ts';

/** What goes, and what stays for a reason. */
export interface Leftovers {
  readonly sweep: readonly (FolderSize & { readonly backup: string })[];
  readonly keep: readonly { readonly backup: string; readonly reason: string }[];
  /** Marked, and nothing is listed of them any more: the run that removed them was ended before it took the mark away. */
  readonly forgotten: readonly string[];
}

/** Another tool's base backup may be running, of which nobody here knows: so old are objects that certainly nobody goes on with. */
const ageMinimumMs = 24 * 60 * 60_000;

/**
 * Decides. What an earlier run of retention has begun to remove is marked, and goes; anything else only when it cannot be part of a base backup
 * that runs.
 * @param isBackupRunning asked after the folders were listed, and only when it matters
 */
export async function decideLeftovers(state: RetentionState, isBackupRunning: () => Promise<boolean>): Promise<Leftovers> {
  const { backups, damaged, folders, marked } = state;
  const withSentinel = new Set([...backups.map(({ name }) => name), ...damaged]);
  const without = [...folders].flatMap(([backup, size]) => (withSentinel.has(backup) ? [] : [{ backup, ...size }]));
  const unmarked = without.filter(({ backup }) => !marked.has(backup));
  const isRunning = unmarked.length > 0 && (await isBackupRunning());
  const reasonToKeep = ({ newestMs }: FolderSize): string | undefined => {
    if (isRunning) return 'a base backup is running';
    return Date.now() - newestMs < ageMinimumMs ? 'it is younger than a day: a base backup of another tool may be running' : undefined;
  };
  return {
    forgotten: [...marked].filter((backup) => !withSentinel.has(backup) && !folders.has(backup)),
    sweep: [...without.filter(({ backup }) => marked.has(backup)), ...unmarked.filter((folder) => reasonToKeep(folder) === undefined)],
    keep: unmarked.flatMap((folder) => {
      const reason = reasonToKeep(folder);
      return reason === undefined ? [] : [{ backup: folder.backup, reason }];
    }),
  };
}
