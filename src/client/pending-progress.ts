/** What the running activity of a workflow said in its last heartbeat. */
import type { WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { ActivityProgress } from '../activities/types.ts';

/** @returns undefined while no activity runs, or when it has said nothing yet */
export function pendingProgress(description: WorkflowExecutionDescription): ActivityProgress | undefined {
  for (const activity of description.raw.pendingActivities ?? []) {
    const [payload] = activity.heartbeatDetails?.payloads ?? [];
    if (payload !== undefined) return defaultPayloadConverter.fromPayload<ActivityProgress>(payload);
  }
  return undefined;
}
