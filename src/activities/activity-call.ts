/** Who runs an activity: Temporal, or an agent that does without it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { activityInfo, Context, heartbeat } from '@temporalio/activity';
import { activityFailureOf } from '../temporal/failures.ts';
import type { ActivityProgress } from './types.ts';

/** One attempt of an activity. */
export interface ActivityCall {
  /** The workflow's, or that of a restore without one. */
  readonly restoreId: string;
  /** Temporal's; another name for restores that it does not know. */
  readonly namespace: string;
  /** Identity of the activity, the same for all its attempts. */
  readonly activityKey: string;
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly beat: (progress: ActivityProgress) => void;
  /** What the error becomes on its way to whoever called. */
  readonly failureOf: (error: unknown) => unknown;
}

const direct = new AsyncLocalStorage<ActivityCall>();

/** Runs an activity without Temporal. */
export function callDirectly<T>(call: ActivityCall, activity: () => Promise<T>): Promise<T> {
  return direct.run(call, activity);
}

/** The attempt that runs now. */
export function currentCall(): ActivityCall {
  return direct.getStore() ?? temporalCall();
}

function temporalCall(): ActivityCall {
  const { attempt, activityId, workflowExecution, workflowNamespace } = activityInfo();
  return {
    restoreId: workflowExecution?.workflowId ?? '',
    namespace: workflowNamespace ?? '',
    activityKey: `${workflowExecution?.runId ?? 'none'}/${activityId}`,
    attempt,
    signal: Context.current().cancellationSignal,
    beat: (progress) => heartbeat(progress),
    failureOf: activityFailureOf,
  };
}
