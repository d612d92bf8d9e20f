/** What may be asked about restored clusters and those they come from. */
import type { Client } from '@temporalio/client';
import type { RecordedBaseline } from '../activities/examination-types.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { Lineage } from '../domain/lineage.ts';
import { checkedUndoRequest, type UndoReport, type UndoRequest } from '../domain/undo-request.ts';
import { baselineWorkflowId, undoWorkflowId } from '../domain/workflow-ids.ts';
import { type UndoProgress, workflowTypes } from '../workflows/contract.ts';
import { ask } from './ask.ts';
import { operationHandle, type OperationHandle } from './handles.ts';
import { assertClusterName, type StartOptions } from './start-operation.ts';

/** The part of the client library that is about families of clusters. */
export interface FamilyOperations {
  /** The landing report of a restore, from the archive. @param of the restore's id, or the name of the restored cluster @throws WalkbackError NOT_FOUND */
  landingReport(of: string): Promise<LandingReport>;
  /** Who was restored from whom around a cluster. @throws WalkbackError NOT_FOUND */
  lineage(request: { readonly cluster: string }): Promise<Lineage>;
  /**
   * Counts the rows of a cluster's configured database, and remembers them in its archive for restores to be compared with.
   * @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING, NO_AGENT_ON_HOST, and whatever the workflow fails with
   */
  recordBaseline(request: { readonly cluster: string }): Promise<RecordedBaseline>;
  /**
   * Starts to undo a restore that retired its source: the source runs again.
   * @throws WalkbackError INVALID_REQUEST, ALREADY_RUNNING; NOT_RETIRED, NOT_FOUND and PORT_IN_USE come from the handle's result
   */
  startUndo(request: UndoRequest): Promise<OperationHandle<UndoProgress, UndoReport>>;
}

/** Makes them over a Temporal client. */
export function createFamilyOperations(context: {
  readonly client: Client;
  readonly taskQueue: string;
  readonly start: (operation: StartOptions) => Promise<void>;
}): FamilyOperations {
  const { client, taskQueue, start } = context;
  return {
    landingReport: async (of) => {
      const input = { of: assertReportOf(of) };
      return await ask<LandingReport>(client, taskQueue, {
        type: workflowTypes.readLandingReport,
        name: 'report',
        input,
        about: undefined,
      });
    },
    lineage: async ({ cluster }) => {
      const input = { cluster: assertClusterName(cluster) };
      return await ask<Lineage>(client, taskQueue, { type: workflowTypes.readLineage, name: 'lineage', input, about: cluster });
    },
    recordBaseline: async ({ cluster }) => {
      const workflowId = baselineWorkflowId(assertClusterName(cluster));
      const attributes = { operation: 'baseline', cluster } as const;
      await start({
        type: workflowTypes.recordBaseline,
        workflowId,
        input: { cluster },
        summary: `Count the rows of ${cluster}`,
        attributes,
      });
      return await operationHandle<never, RecordedBaseline>(client, workflowId).result();
    },
    startUndo: async (request) => {
      const input = checkedUndoRequest(request);
      const workflowId = undoWorkflowId(input.restoreId);
      const attributes = { operation: 'undo', ...(input.cluster === undefined ? {} : { cluster: input.cluster }) } as const;
      await start({ type: workflowTypes.undoRestore, workflowId, input, summary: `Undo ${input.restoreId}`, attributes });
      return operationHandle<UndoProgress, UndoReport>(client, workflowId);
    },
  };
}

const reportNameMaximumLength = 300;

function assertReportOf(of: string): string {
  if (typeof of === 'string' && of.length > 0 && of.length <= reportNameMaximumLength) return of;
  throw new WalkbackError('INVALID_REQUEST', 'A landing report is named by the id of its restore, or by the name of the restored cluster.');
}
