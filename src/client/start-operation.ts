/** Starts the workflows that do what a caller asks for. */
import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { WalkbackError } from '../domain/errors.ts';
import { isClusterName } from '../domain/restore-request.ts';
import { type OperationAttributes, operationAttributes } from '../temporal/search-attributes.ts';
import { clientError } from './handles.ts';

/** What is started. */
export interface StartOptions {
  readonly type: string;
  readonly workflowId: string;
  readonly input: unknown;
  readonly summary: string;
  readonly attributes: OperationAttributes;
}

/** Starts it and returns at once. @throws WalkbackError ALREADY_RUNNING */
export async function startOperation(client: Client, taskQueue: string, options: StartOptions): Promise<void> {
  const { type, workflowId, input, summary, attributes } = options;
  try {
    await client.workflow.start(type, {
      taskQueue,
      workflowId,
      args: [input],
      staticSummary: summary,
      typedSearchAttributes: operationAttributes(attributes),
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw clientError(error, workflowId);
    throw new WalkbackError('ALREADY_RUNNING', `"${workflowId}" is running already.`, {
      hint: `Follow it with \`walkback status ${workflowId}\`.`,
      facts: { workflowId },
      cause: error,
    });
  }
}

/** @throws WalkbackError INVALID_REQUEST */
export function assertClusterName(cluster: string): string {
  if (isClusterName(cluster)) return cluster;
  throw new WalkbackError(
    'INVALID_REQUEST',
    `"${String(cluster)}" is not the name of a cluster: letters, digits, "_" and "-", at most 63.`,
  );
}
