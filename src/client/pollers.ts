/** Is anybody there? Asked before a restore is started, so that a host without an agent is told at once and not by a timeout. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, isGrpcServiceError } from '@temporalio/client';

/** What a queue hands out. */
export type TaskKind = 'workflow' | 'activity';

/** temporal.api.enums.v1.TaskQueueType */
const taskQueueTypes = { workflow: 1, activity: 2 } as const;
/** google.rpc.Code: a caller that may not ask, or a server that cannot tell. */
const cannotTellCodes: ReadonlySet<number> = new Set([7, 12]);
/** A worker that has just started polls within moments of saying that it is ready. */
const answerWithinMs = 3000;
const pollIntervalMs = 200;

/**
 * Waits a few seconds for somebody to take tasks from a queue. The server remembers who polled for five minutes, so `true` may be out of
 * date, while `false` is sure. Where it cannot be asked the answer is `true`, and the timeouts of the workflow decide.
 */
export async function isPolled(client: Client, taskQueue: string, kind: TaskKind): Promise<boolean> {
  const deadlineMs = performance.now() + answerWithinMs;
  for (;;) {
    if ((await pollersCount(client, taskQueue, kind)) > 0) return true;
    if (performance.now() >= deadlineMs) return false;
    await delay(pollIntervalMs);
  }
}

async function pollersCount(client: Client, taskQueue: string, kind: TaskKind): Promise<number> {
  const { namespace } = client.options;
  const request = { namespace, taskQueue: { name: taskQueue }, taskQueueType: taskQueueTypes[kind] };
  try {
    const { pollers } = await client.workflowService.describeTaskQueue(request);
    return pollers.length;
  } catch (error) {
    if (isGrpcServiceError(error) && cannotTellCodes.has(error.code)) return 1;
    throw error;
  }
}
