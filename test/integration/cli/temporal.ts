/** A site's Temporal server as a test looks into it, past our own client library. */
import { Client, Connection, type WorkflowExecutionInfo } from '@temporalio/client';
import type { DemoSite } from '../../../src/demo/demo-site.ts';

/** Lets a test look, and closes the connection afterwards. */
export async function withTemporal<T>(site: DemoSite, look: (client: Client) => Promise<T>): Promise<T> {
  return await withTemporalAt(site.temporal, look);
}

/** Looks into any server. */
export async function withTemporalAt<T>(
  { address, namespace }: { readonly address: string; readonly namespace: string },
  look: (client: Client) => Promise<T>,
): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await look(new Client({ connection, namespace }));
  } finally {
    await connection.close();
  }
}

/** Every execution that the server knows, as far as its visibility store has followed. */
export async function executions(client: Client, query?: string): Promise<readonly WorkflowExecutionInfo[]> {
  const found: WorkflowExecutionInfo[] = [];
  for await (const execution of client.workflow.list(query === undefined ? {} : { query })) found.push(execution);
  return found;
}

/** Activities that a run has scheduled, in order. */
export async function scheduledActivities(client: Client, workflowId: string): Promise<string[]> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap((event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? []);
}
