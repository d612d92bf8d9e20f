/** What may be asked of a cluster's archive. */
import type { Client } from '@temporalio/client';
import type { ArchiveWindow } from '../domain/archive-window.ts';
import type { BaseBackup } from '../domain/base-backup.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { PlanReport } from '../domain/plan-report.ts';
import { completeRestoreRequest, type RestoreRequest } from '../domain/restore-request.ts';
import { assertRules } from '../domain/retention-policy.ts';
import { pruneWorkflowId, verifyWorkflowId } from '../domain/workflow-ids.ts';
import {
  type MarkBackupRequest,
  type PruneArchiveReport,
  type PruneProgress,
  type PruneRequest,
  type VerifyArchiveReport,
  type VerifyArchiveRequest,
  type VerifyProgress,
  workflowTypes,
} from '../workflows/contract.ts';
import { ask } from './ask.ts';
import { operationHandle, type PruneHandle, type VerifyHandle } from './handles.ts';
import { assertClusterName, type StartOptions } from './start-operation.ts';

/** The part of the client library that is about archives. */
export interface ArchiveOperations {
  /**
   * Tells what a restore would do and what stands in its way, and does nothing: neither source nor host nor archive are changed.
   * @throws WalkbackError INVALID_REQUEST, INVALID_INSTANT, TARGET_IN_FUTURE
   */
  planRestore(request: RestoreRequest): Promise<PlanReport>;
  /** The newest base backups of a cluster, oldest first. `limit` defaults to 100, which is the most. */
  listBackups(request: { readonly cluster: string; readonly limit?: number }): Promise<readonly BaseBackup[]>;
  /** From when to when a cluster can be restored, and what stands in between; of long lists the newest. */
  archiveWindow(request: { readonly cluster: string }): Promise<ArchiveWindow>;
  /** Starts to verify what an archive holds. Errors in the archive are in the report. @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING */
  startVerify(request: VerifyArchiveRequest): Promise<VerifyHandle>;
  /**
   * Starts retention: a dry run unless the request confirms it. @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING; PRUNE_REFUSED comes
   * from the handle's result
   */
  startPrune(request: PruneRequest): Promise<PruneHandle>;
  /**
   * Marks a base backup, and the ones that it is a delta of, as permanent, or takes the mark from it.
   * @returns the backups whose mark was changed
   * @throws WalkbackError NOT_FOUND, BACKUP_NEEDED
   */
  markBackup(request: MarkBackupRequest): Promise<readonly string[]>;
}

/** As many backups as fit in one answer of Temporal (64 KiB, design.md section 2). */
const listLimitMaximum = 100;
/** A plan lists the archive several times, waits for holes to close and for an agent that may be gone. */
const planTimeoutMs = 5 * 60_000;

/** Makes them over a Temporal client. */
export function createArchiveOperations(context: {
  readonly client: Client;
  readonly taskQueue: string;
  readonly start: (operation: StartOptions) => Promise<void>;
}): ArchiveOperations {
  const { client, taskQueue, start } = context;
  return {
    planRestore: async (request) => {
      const input = completeRestoreRequest(request, new Date());
      const question = { type: workflowTypes.planRestore, name: 'plan', about: input.cluster, input, withinMs: planTimeoutMs };
      return await ask<PlanReport>(client, taskQueue, question);
    },
    listBackups: async ({ cluster, limit = listLimitMaximum }) => {
      const input = { cluster: assertClusterName(cluster), limit: assertLimit(limit) };
      return await ask<readonly BaseBackup[]>(client, taskQueue, {
        type: workflowTypes.listBaseBackups,
        name: 'list-backups',
        input,
        about: cluster,
      });
    },
    archiveWindow: async ({ cluster }) => {
      const input = { cluster: assertClusterName(cluster) };
      return await ask<ArchiveWindow>(client, taskQueue, { type: workflowTypes.readArchiveWindow, name: 'window', input, about: cluster });
    },
    startVerify: async (request) => {
      const { cluster } = request;
      const workflowId = verifyWorkflowId(assertClusterName(cluster));
      await start({
        type: workflowTypes.verifyArchive,
        workflowId,
        input: request,
        summary: `Verify the archive of ${cluster}${request.deep === true ? ', every byte' : ''}`,
        attributes: { operation: 'verify', cluster },
      });
      return operationHandle<VerifyProgress, VerifyArchiveReport>(client, workflowId);
    },
    startPrune: async (request) => {
      const { cluster } = request;
      assertRules(request);
      const workflowId = pruneWorkflowId(assertClusterName(cluster));
      await start({
        type: workflowTypes.prune,
        workflowId,
        input: request,
        summary: `${request.confirm === true ? 'Retention' : 'Dry run of retention'} of ${cluster}`,
        attributes: { operation: 'prune', cluster },
      });
      return operationHandle<PruneProgress, PruneArchiveReport>(client, workflowId);
    },
    markBackup: async (request) => {
      const input = { ...request, cluster: assertClusterName(request.cluster) };
      return await ask<readonly string[]>(client, taskQueue, { type: workflowTypes.markBackup, name: 'mark', input, about: input.cluster });
    },
  };
}

function assertLimit(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= listLimitMaximum) return limit;
  throw new WalkbackError('INVALID_REQUEST', `limit is a number from 1 to ${listLimitMaximum}, not ${limit}.`);
}
