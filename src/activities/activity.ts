/** What every activity has in common: heartbeats, cancellation, errors of the catalogue, and the attempt that it succeeded on. */
import { currentCall } from './activity-call.ts';
import type { ActivityProgress, Attempted } from './types.ts';

/** Often enough that cancellation arrives within seconds, since it comes with the answer to a heartbeat. */
const heartbeatIntervalMs = 2000;

/** What an activity's body gets. */
export interface ActivityStep {
  /** Aborted when the workflow is cancelled, the attempt has timed out or the worker shuts down. */
  readonly signal: AbortSignal;
  /** Goes out with the next heartbeat; small and JSON-safe. */
  report(progress: ActivityProgress): void;
  readonly attempt: number;
  /** Identity of the activity, the same for all its attempts. */
  readonly activityKey: string;
  /** Identity of this attempt, for locks. */
  readonly attemptId: string;
}

/**
 * Runs an activity's body. A cancelled activity ends as cancelled whatever its body threw: a killed child's error would count as a failure
 * (temporal.md, trap 3).
 */
export async function runActivity<T>(body: (step: ActivityStep) => Promise<T>): Promise<Attempted<T>> {
  const { attempt, activityKey, signal, beat, failureOf } = currentCall();
  let progress: ActivityProgress = {};
  const beating = setInterval(() => beat(progress), heartbeatIntervalMs);
  try {
    signal.throwIfAborted();
    const step: ActivityStep = {
      signal,
      attempt,
      activityKey,
      attemptId: `${activityKey}/${attempt}`,
      report: (next) => {
        progress = next;
      },
    };
    return { value: await body(step), attempts: attempt };
  } catch (error) {
    signal.throwIfAborted();
    throw failureOf(error);
  } finally {
    clearInterval(beating);
  }
}
