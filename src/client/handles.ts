/** A running or ended operation, by its workflow id. */
import { type Client, type WorkflowHandle, WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import { messageOf, WalkbackError } from '../domain/errors.ts';
import type { ActivityProgress } from '../activities/types.ts';
import { walkbackErrorOfFailure } from '../temporal/failures.ts';
import {
  type BackupProgress,
  type BaseBackupReport,
  type LandingReport,
  type AdvanceInput,
  type DecisionAccepted,
  type DecisionInput,
  type DecisionKind,
  decisionUpdates,
  type PruneArchiveReport,
  type PruneProgress,
  type RestoreProgress,
  type VerifyArchiveReport,
  type VerifyProgress,
} from '../workflows/contract.ts';
import { pendingProgress } from './pending-progress.ts';

/** How far an operation is: its own word, and what its running activity says. */
export type RestoreFollowUp<Progress> = Progress & {
  readonly status: 'running' | 'completed' | 'failed' | 'cancelled';
  /** Bytes and positions of the step that runs now; undefined between steps. */
  readonly activity: ActivityProgress | undefined;
};

/** Any operation of ours. */
export interface OperationHandle<Progress, Result> {
  readonly workflowId: string;
  /** Where it stands. Needs a running worker. @throws WalkbackError NOT_FOUND, NO_WORKER */
  progress(): Promise<RestoreFollowUp<Progress>>;
  /** Waits for the end. @throws WalkbackError with the code it failed with; CANCELLED when it was cancelled */
  result(): Promise<Result>;
  /** Asks it to stop what runs; resolves when the request is recorded, `result()` tells the end. */
  cancel(): Promise<void>;
}

/** A restore. */
export interface RestoreHandle extends OperationHandle<RestoreProgress, LandingReport> {
  /** Ends the pause at the target, or takes the end of the WAL. @throws WalkbackError NOT_PAUSED while it does not wait for that */
  promote(input?: DecisionInput): Promise<DecisionAccepted>;
  /** Goes on from a pause to a later target. @throws WalkbackError NOT_PAUSED, INVALID_REQUEST for a target that is not later */
  advance(input: AdvanceInput): Promise<DecisionAccepted>;
  /** After an early end: looks for new WAL and tries the same target again. @throws WalkbackError NOT_PAUSED */
  retry(input?: DecisionInput): Promise<DecisionAccepted>;
  /** Gives a waiting restore up; the directory is kept. @throws WalkbackError NOT_PAUSED, INVALID_REQUEST without a reason */
  abort(input: { readonly reason: string }): Promise<DecisionAccepted>;
}

/** A base backup. */
export type BackupHandle = OperationHandle<BackupProgress, BaseBackupReport>;

/** A verification. */
export type VerifyHandle = OperationHandle<VerifyProgress, VerifyArchiveReport>;

/** A retention run. */
export type PruneHandle = OperationHandle<PruneProgress, PruneArchiveReport>;

/** How long one answer of Temporal may take. */
const callTimeoutMs = 15_000;

/** Makes the handle of an operation that exists or existed. */
export function operationHandle<Progress, Result>(client: Client, workflowId: string): OperationHandle<Progress, Result> {
  const handle = client.workflow.getHandle(workflowId);
  return {
    workflowId,
    progress: () => translated(workflowId, () => client.withDeadline(Date.now() + callTimeoutMs, () => readProgress<Progress>(handle))),
    result: () => translated(workflowId, async () => (await handle.result()) as Result),
    cancel: () => translated(workflowId, async () => void (await handle.cancel())),
  };
}

/** Makes the handle of a restore. */
export function restoreHandle(client: Client, workflowId: string): RestoreHandle {
  const handle = client.workflow.getHandle(workflowId);
  const decide = (kind: DecisionKind, input: DecisionInput) =>
    translated(workflowId, () => client.withDeadline(Date.now() + callTimeoutMs, () => sendDecision(handle, kind, input)));
  return {
    ...operationHandle<RestoreProgress, LandingReport>(client, workflowId),
    promote: (input = {}) => decide('promote', input),
    advance: (input) => decide('advance', input),
    retry: (input = {}) => decide('retry', input),
    abort: (input) => decide('abort', input),
  };
}

async function sendDecision(handle: WorkflowHandle, kind: DecisionKind, input: DecisionInput): Promise<DecisionAccepted> {
  try {
    return await handle.executeUpdate<DecisionAccepted, [DecisionInput]>(decisionUpdates[kind], { args: [input] });
  } catch (error) {
    if (!hasEnded(error)) throw error;
    throw new WalkbackError('NOT_PAUSED', `The restore "${handle.workflowId}" waits for no decision: it has ended.`, {
      cause: error,
    });
  }
}

async function readProgress<Progress>(handle: WorkflowHandle): Promise<RestoreFollowUp<Progress>> {
  const [description, progress] = await Promise.all([handle.describe(), handle.query<Progress>('progress')]);
  return { ...progress, status: statusOf(description.status.name), activity: pendingProgress(description) };
}

function statusOf(name: string): RestoreFollowUp<unknown>['status'] {
  if (name === 'RUNNING') return 'running';
  if (name === 'COMPLETED') return 'completed';
  return name === 'CANCELLED' ? 'cancelled' : 'failed';
}

/** The server says of an operation that has ended that it is not found, too. */
function hasEnded(error: unknown): boolean {
  return error instanceof WorkflowNotFoundError && /already completed/i.test(error.message);
}

async function translated<T>(workflowId: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw clientError(error, workflowId);
  }
}

/** What a caller gets to see of Temporal's errors. */
export function clientError(error: unknown, workflowId: string): WalkbackError {
  if (error instanceof WorkflowNotFoundError)
    return new WalkbackError('NOT_FOUND', `There is no operation with the id "${workflowId}".`, { cause: error });
  if (error instanceof WorkflowFailedError || error instanceof WorkflowUpdateFailedError) return walkbackErrorOfFailure(error);
  // The client wraps what the server said: "Failed to query Workflow", caused by "4 DEADLINE_EXCEEDED: …". When the deadline passes, the server
  // may end the call before our own timer does, and grpc-js then says "1 CANCELLED: Call cancelled" (subchannel-call.js); we cancel no call.
  const said = error instanceof Error ? `${error.message} ${String(error.cause)}` : '';
  if (/DEADLINE_EXCEEDED|CANCELLED: Call cancelled|no poller|Workflow worker/i.test(said)) {
    return new WalkbackError('NO_WORKER', `No walkback worker answers for "${workflowId}".`, { cause: error });
  }
  if (/UNAVAILABLE|ECONNREFUSED/i.test(said)) {
    return new WalkbackError('TEMPORAL_UNREACHABLE', `Temporal does not answer: ${messageOf(error)}.`, { cause: error });
  }
  return walkbackErrorOfFailure(error);
}
