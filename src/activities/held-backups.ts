/**
 * Base backups whose attempt failed for a reason that may pass. Their session stays open for the next attempt, which goes on with what is not stored;
 * when none comes, it is ended.
 */
import { CancelledFailure } from '@temporalio/common';
import { WalkbackError } from '../domain/errors.ts';
import type { RunningBackup } from './running-backup.ts';

/** Over the longest pause between two attempts, and the time in which a host that lost Temporal finds it again. An open session keeps WAL from being recycled by nothing, but it is one of the server's connections. */
const heldForMs = 15 * 60_000;

interface HeldBackup {
  /** The activity, whichever attempt. */
  readonly activity: string;
  readonly backup: RunningBackup;
  readonly timer: NodeJS.Timeout;
}

/** The held backups of one agent process, at most one for each cluster. */
export class HeldBackups implements AsyncDisposable {
  readonly #held = new Map<string, HeldBackup>();

  /** Keeps a backup for the next attempt of the activity. */
  hold(cluster: string, activity: string, backup: RunningBackup): void {
    const timer = setTimeout(() => void this.#end(cluster, backup), heldForMs);
    timer.unref();
    this.#held.set(cluster, { activity, backup, timer });
  }

  /** The backup that an earlier attempt of the activity left. One of another activity is ended: nobody comes for it any more. */
  async take(cluster: string, activity: string): Promise<RunningBackup | undefined> {
    const held = this.#held.get(cluster);
    if (held === undefined) return undefined;
    clearTimeout(held.timer);
    this.#held.delete(cluster);
    if (held.activity === activity && (await held.backup.isAlive())) return held.backup;
    await held.backup[Symbol.asyncDispose]();
    return undefined;
  }

  /** Ends the one of the cluster, if there is one: no attempt comes for it. */
  async release(cluster: string): Promise<void> {
    const held = this.#held.get(cluster);
    if (held === undefined) return;
    clearTimeout(held.timer);
    await this.#end(cluster, held.backup);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#held.values()];
    this.#held.clear();
    for (const { backup, timer } of all) {
      clearTimeout(timer);
      await backup[Symbol.asyncDispose]();
    }
  }

  async #end(cluster: string, backup: RunningBackup): Promise<void> {
    if (this.#held.get(cluster)?.backup === backup) this.#held.delete(cluster);
    await backup[Symbol.asyncDispose]();
  }
}

/** Codes of what has nothing to do with the server or its files. */
const storeTroubles: ReadonlySet<string> = new Set(['STORAGE_UNREACHABLE']);
/** Why an attempt's signal is aborted although the activity goes on (src/activity of the SDK, CancellationReason). */
const attemptEnds: ReadonlySet<string> = new Set(['TIMED_OUT', 'NOT_FOUND', 'HEARTBEAT_TIMEOUT', 'PAUSED', 'RESET']);

/** May the next attempt of the activity go on with what this one leaves? */
export function mayGoOn(error: unknown, signal: AbortSignal): boolean {
  const reason: unknown = signal.aborted ? signal.reason : error;
  if (reason instanceof CancelledFailure) return attemptEnds.has(reason.message);
  // A later attempt has taken the directory's lease.
  if (signal.aborted) return reason instanceof WalkbackError && reason.code === 'DATA_DIRECTORY_IN_USE';
  return reason instanceof WalkbackError && storeTroubles.has(reason.code);
}
