/**
 * What is spoken over the agent's socket: one line of JSON each way, then the connection ends. wal-command.cjs speaks it too, without
 * importing this file.
 */
import { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';

/** A restore may come with a hundred checks of four thousand characters: more than this is not one of ours. */
export const requestMaximumBytes = 1024 * 1024;
/** An answer is at most a status with a few hundred clusters. */
export const replyMaximumBytes = 1024 * 1024;

/** Archive a file of a cluster. Without `path` it is the file of that name in the cluster's pg_wal. */
const pushRequest = z.object({ op: z.literal('push'), cluster: z.string(), name: z.string(), path: z.string().optional() });
/** Bring a file of the archive to a path in the pg_wal of a directory being restored. */
const fetchRequest = z.object({ op: z.literal('fetch'), restoreId: z.string(), name: z.string(), destination: z.string() });
const statusRequest = z.object({ op: z.literal('status') });
/** Begin a restore without Temporal or go on with it, and tell how far it is. The asker is the same for as long as somebody follows it. */
const restoreRequest = z.object({ op: z.literal('restore'), asker: z.string(), request: z.record(z.string(), z.unknown()) });
const restoreStateRequest = z.object({ op: z.literal('restore-state'), restoreId: z.string() });
const cancelRestoreRequest = z.object({ op: z.literal('cancel-restore'), restoreId: z.string() });
/** Decide for a restore without Temporal that waits. */
const decideRequest = z.object({
  op: z.literal('decide'),
  restoreId: z.string(),
  kind: z.enum(['promote', 'advance', 'retry', 'abort']),
  input: z.record(z.string(), z.unknown()),
});
/** Tell what a restore would do. */
const planRequest = z.object({ op: z.literal('plan'), request: z.record(z.string(), z.unknown()) });

export const requestSchema = z.discriminatedUnion('op', [
  pushRequest,
  fetchRequest,
  statusRequest,
  restoreRequest,
  restoreStateRequest,
  cancelRestoreRequest,
  decideRequest,
  planRequest,
]);
export type AgentRequest = z.infer<typeof requestSchema>;
/** A decision for a restore without Temporal. */
export type DirectDecision = Omit<z.infer<typeof decideRequest>, 'op'>;
export type PushRequest = Omit<z.infer<typeof pushRequest>, 'op'>;

const failureSchema = z.object({ code: z.string(), message: z.string(), time: z.string() });

const clusterStatusSchema = z.object({
  name: z.string(),
  dataDirectory: z.string(),
  archiveUrl: z.string(),
  /** Files that PostgreSQL waits to see archived. */
  backlogCount: z.number(),
  backlogBytes: z.number(),
  /** Age of the oldest of them; null when there is none. */
  oldestBacklogAgeMs: z.number().nullable(),
  /** Room that the file system of pg_wal has left; null when it does not tell. */
  pgWalFreeBytes: z.number().nullable(),
  /** A sentence for each threshold that is passed, and for what the archive refuses. */
  alarms: z.array(z.string()),
  lastArchivedName: z.string().nullable(),
  /** RFC 3339, UTC. */
  lastArchivedTime: z.string().nullable(),
  /** The last push that failed; null again after one that succeeded. */
  lastError: failureSchema.nullable(),
});

const restoreStatusSchema = z.object({
  restoreId: z.string(),
  dataDirectory: z.string(),
  archiveUrl: z.string(),
  /** The last segment that PostgreSQL took, from the agent or from the prefetched files. */
  lastFetchedName: z.string().nullable(),
  prefetchedCount: z.number(),
  lastError: failureSchema.nullable(),
});

const statusSchema = z.object({
  processId: z.number(),
  /** RFC 3339, UTC. */
  startedTime: z.string(),
  clusters: z.array(clusterStatusSchema),
  restores: z.array(restoreStatusSchema),
});

const factSchema = z.union([z.string(), z.number(), z.boolean(), z.null(), z.array(z.string()).readonly()]);

const directRestoreSchema = z.object({
  restoreId: z.string(),
  phase: z.string(),
  summary: z.string(),
  /** Who has to decide what, while it waits for a person. */
  waitingFor: z.string().nullable(),
  steps: z.array(z.object({ name: z.string(), milliseconds: z.number(), attempts: z.number() })),
  activity: z.record(z.string(), z.unknown()),
  /** Null while it runs. */
  ended: z
    .union([
      z.object({ report: z.record(z.string(), z.unknown()) }),
      z.object({
        error: z.object({ code: z.string(), message: z.string(), hint: z.string(), facts: z.record(z.string(), factSchema) }),
      }),
    ])
    .nullable(),
});

/** Where a restore without Temporal stands. */
export type DirectRestoreState = z.infer<typeof directRestoreSchema>;

/** Where archiving of one cluster stands. */
export type ClusterStatus = z.infer<typeof clusterStatusSchema>;
/** Where the WAL of one restore stands. */
export type RestoreStatus = z.infer<typeof restoreStatusSchema>;
/** Where the agent stands. */
export type AgentStatus = z.infer<typeof statusSchema>;
/** What went wrong last, and when (RFC 3339, UTC). */
export type Failure = z.infer<typeof failureSchema>;

export const replySchema = z.discriminatedUnion('result', [
  z.object({ result: z.literal('archived') }),
  z.object({ result: z.literal('fetched') }),
  z.object({ result: z.literal('absent') }),
  z.object({ result: z.literal('status'), status: statusSchema }),
  z.object({ result: z.literal('restore'), restore: directRestoreSchema }),
  z.object({ result: z.literal('cancelled') }),
  z.object({ result: z.literal('decided') }),
  z.object({ result: z.literal('plan'), plan: z.record(z.string(), z.unknown()) }),
  z.object({ result: z.literal('error'), code: z.string(), message: z.string(), hint: z.string() }),
]);
export type AgentReply =
  | Exclude<z.infer<typeof replySchema>, { result: 'error' }>
  | { readonly result: 'error'; readonly code: ErrorCode; readonly message: string; readonly hint: string };
