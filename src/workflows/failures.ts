/** Errors at the border of a workflow: what activities threw, and what a workflow throws. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  ChildWorkflowFailure,
  isCancellation,
  TimeoutFailure,
} from '@temporalio/workflow';
import { type ErrorCode, type ErrorFacts, isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';

/** Details of every ApplicationFailure of ours. */
export interface FailureDetails {
  readonly hint: string;
  readonly facts: ErrorFacts;
}

/** As Temporal records it: `type` is the code. A workflow's own failure is never retried by the server. */
export function applicationFailureOf(error: WalkbackError): ApplicationFailure {
  const details: FailureDetails = { hint: error.hint, facts: error.facts };
  return ApplicationFailure.create({ type: error.code, message: error.message, nonRetryable: true, details: [details] });
}

/** What an activity, a child workflow, or domain code failed with. */
export function walkbackErrorOf(error: unknown, host?: string): WalkbackError {
  if (error instanceof WalkbackError) return error;
  const cause = error instanceof ActivityFailure || error instanceof ChildWorkflowFailure ? error.cause : error;
  if (cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_START') {
    return host === undefined
      ? new WalkbackError('NO_WORKER', 'No walkback worker took the step.')
      : new WalkbackError('NO_AGENT_ON_HOST', `No walkback agent on host "${host}" took the step "${activityNameOf(error)}" in time.`, {
          facts: { host },
        });
  }
  if (cause instanceof TimeoutFailure && cause.timeoutType === 'HEARTBEAT') return lost(activityNameOf(error));
  if (cause instanceof ApplicationFailure) {
    const details = cause.details?.[0] as Partial<FailureDetails> | undefined;
    const code: ErrorCode = isErrorCode(cause.type) ? cause.type : 'INTERNAL';
    return new WalkbackError(code, cause.message, {
      ...(details?.hint === undefined ? {} : { hint: details.hint }),
      facts: details?.facts ?? {},
    });
  }
  return new WalkbackError('INTERNAL', `${activityNameOf(error)}: ${messageOf(cause)}`);
}

/** Whoever ran the last attempt has ended in the middle of it, or cannot reach Temporal. */
function lost(step: string): WalkbackError {
  return new WalkbackError('NO_WORKER', `Whoever ran the step "${step}" was not heard of any more, on its last attempt too.`, {
    hint: 'See that `walkback worker` and the agents run and reach Temporal, and why they ended; then do it again.',
  });
}

/**
 * What a cancelled workflow ends with, whatever its step has failed with meanwhile: one whose worker is dead is lost, not cancelled.
 * @returns undefined when it is not cancelled
 */
export function cancellationOf(error: unknown): Error | undefined {
  if (error instanceof Error && isCancellation(error)) return error;
  return CancellationScope.current().consideredCancelled ? new CancelledFailure('The workflow was cancelled') : undefined;
}

/** Runs a workflow's story: errors of the catalogue leave it as ApplicationFailure, cancellation as it is. */
export async function failingAsApplicationFailure<T>(story: () => Promise<T>): Promise<T> {
  try {
    return await story();
  } catch (error) {
    if (isCancellation(error) || error instanceof ApplicationFailure) throw error;
    throw applicationFailureOf(walkbackErrorOf(error));
  }
}

function activityNameOf(error: unknown): string {
  return error instanceof ActivityFailure ? error.activityType : 'workflow';
}
