/** Questions to archives by way of a worker, for clients that cannot reach them. */
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { TimeoutFailure } from '@temporalio/common';
import { WalkbackError } from '../domain/errors.ts';
import { operationAttributes } from '../temporal/search-attributes.ts';
import { clientError } from './handles.ts';
import { isPolled } from './pollers.ts';

const questionTimeoutMs = 60_000;

/** A question to an archive: a short workflow whose result is the answer. */
interface Question {
  readonly type: string;
  /** Begins the workflow's id. */
  readonly name: string;
  readonly input: object;
  /** The cluster that it is about, where that is known. */
  readonly about: string | undefined;
  /** Default one minute: an archive of a million segments is listed in that. */
  readonly withinMs?: number;
}

/** Asks it. @throws WalkbackError as the workflow fails, NO_WORKER when none answers in time */
export async function ask<Answer>(
  client: Client,
  taskQueue: string,
  { type, name, input, about, withinMs = questionTimeoutMs }: Question,
): Promise<Answer> {
  const workflowId = [name, ...(about === undefined ? [] : [about]), crypto.randomUUID()].join('/');
  try {
    return await client.workflow.execute<(input: Question['input']) => Promise<Answer>>(type, {
      taskQueue,
      workflowId,
      args: [input],
      workflowExecutionTimeout: withinMs,
      ...(about === undefined ? {} : { typedSearchAttributes: operationAttributes({ operation: 'list', cluster: about }) }),
    });
  } catch (error) {
    if (!isTimeout(error)) throw clientError(error, workflowId);
    const isThere = await isPolled(client, taskQueue, 'workflow');
    const waited = `Nobody answered the question "${workflowId}" within ${withinMs / 1000} s`;
    throw new WalkbackError(
      'NO_WORKER',
      `${waited}: ${isThere ? 'a worker is there and has not come to an answer' : 'no walkback worker is there'}.`,
      {
        cause: error,
      },
    );
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof WorkflowFailedError && error.cause instanceof TimeoutFailure;
}
