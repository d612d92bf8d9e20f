/** Errors on their way out of activities, and back into a caller's hands. */
import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import { type ErrorFacts, isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';

interface FailureDetails {
  readonly hint?: string;
  readonly facts?: ErrorFacts;
}

/** Causes nest a few levels deep: workflow, child workflow, activity, application. */
const causeDepthMaximum = 10;

/**
 * As Temporal records an activity's error: the code as `type`, whether a retry can help, hint and facts. Errors that are not ours become
 * INTERNAL and may be retried; their causes stay behind, since a driver's error can hold a command line or a password.
 */
export function activityFailureOf(error: unknown): ApplicationFailure {
  if (error instanceof ApplicationFailure) return error;
  if (error instanceof WalkbackError) {
    return ApplicationFailure.create({
      type: error.code,
      message: error.message,
      nonRetryable: !error.retryable,
      details: [{ hint: error.hint, facts: error.facts }],
    });
  }
  return ApplicationFailure.create({ type: 'INTERNAL', message: messageOf(error), nonRetryable: false });
}

/** The error of the catalogue that a failed workflow ended with. */
export function walkbackErrorOfFailure(error: unknown): WalkbackError {
  let current: unknown = error;
  let cancelled = false;
  for (let depth = 0; depth < causeDepthMaximum && current instanceof Error; depth += 1) {
    if (current instanceof WalkbackError) return current;
    if (current instanceof ApplicationFailure && isErrorCode(current.type)) {
      const details = (current.details?.[0] ?? {}) as FailureDetails;
      return new WalkbackError(current.type, current.message, { ...details, cause: error });
    }
    if (current instanceof TerminatedFailure)
      return new WalkbackError('CANCELLED', 'The workflow was terminated; what it left was not cleaned up.', { cause: error });
    if (current instanceof TimeoutFailure)
      return new WalkbackError('INTERNAL', `The workflow ran out of time: ${current.message}.`, { cause: error });
    cancelled ||= current instanceof CancelledFailure;
    current = current.cause;
  }
  return cancelled
    ? new WalkbackError('CANCELLED', 'The workflow was cancelled.', { cause: error })
    : new WalkbackError('INTERNAL', messageOf(error), { cause: error });
}
