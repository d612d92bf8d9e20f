/** Retention; and the run that a schedule starts, which does it under the cluster's fixed id. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { defineQuery, executeChild, setHandler } from '@temporalio/workflow';
import { instantOf } from '../domain/instant.ts';
import type { PruneReport } from '../domain/prune-report.ts';
import { pruneWorkflowId } from '../domain/workflow-ids.ts';
import { controlActivities } from './activity-options.ts';
import type { PruneArchiveReport, PrunePhase, PruneProgress, PruneRequest, ScheduledPruneReport } from './contract.ts';
import { progressQuery } from './contract.ts';
import { cancellationOf, failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { renderClusterDetails } from './render-details.ts';
import { StepRecorder } from './step-recorder.ts';

const pruneProgress = defineQuery<PruneProgress>(progressQuery);

/** Plans what retention lets go, and removes it when the request confirms that. */
export async function prune(request: PruneRequest): Promise<PruneArchiveReport> {
  const steps = new StepRecorder<PrunePhase>('plan', (state) => renderClusterDetails(request.cluster, state));
  setHandler(pruneProgress, () => steps.state, { description: 'Where the retention run stands' });
  return await failingAsApplicationFailure(async () => {
    const startedMs = Date.now();
    const { cluster, keepFull, keepDays, confirm = false, allowEmpty = false, ignoreDamaged = false } = request;
    const rules = { ...(keepFull === undefined ? {} : { keepFull }), ...(keepDays === undefined ? {} : { keepDays }) };
    const input = { cluster, rules, now: instantOf(new Date()), allowEmpty, ignoreDamaged };
    try {
      const plan = await steps.run('plan', `Decide what retention keeps of ${cluster}`, (summary) =>
        controlActivities().pruneArchive(summary, { ...input, confirm: false }),
      );
      const removed = confirm
        ? await steps.run('remove', `Remove ${plan.objects} objects of ${cluster}`, (summary) =>
            controlActivities().pruneArchive(summary, { ...input, confirm: true }),
          )
        : null;
      steps.enter('done', outcomeOf(plan, removed));
      return { plan, removed, steps: steps.state.steps, totalMilliseconds: Date.now() - startedMs };
    } catch (error) {
      const cancellation = cancellationOf(error);
      steps.enter('failed', cancellation === undefined ? walkbackErrorOf(error).message : 'cancelled');
      throw cancellation ?? error;
    }
  });
}

function outcomeOf(plan: PruneReport, removed: PruneReport | null): string {
  return removed === null ? `Dry run: ${plan.objects} objects would be removed` : `${removed.objects} objects were removed`;
}

/** What a schedule starts: a run that is under way already is no failure, but a run to skip. */
export async function scheduledPrune(request: PruneRequest): Promise<ScheduledPruneReport> {
  try {
    const { removed } = await executeChild(prune, {
      workflowId: pruneWorkflowId(request.cluster),
      args: [request],
      parentClosePolicy: 'REQUEST_CANCEL',
      staticSummary: `Scheduled retention of ${request.cluster}`,
    });
    return { outcome: 'pruned', objects: removed?.objects ?? 0, bytes: removed?.bytes ?? 0 };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return { outcome: 'skipped', reason: `retention of ${request.cluster} is running already` };
  }
}
