/** The proof of an archive; and the run that a schedule starts, which makes it under the cluster's fixed id. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { defineQuery, executeChild, setHandler, workflowInfo } from '@temporalio/workflow';
import { WalkbackError } from '../domain/errors.ts';
import { verifyWorkflowId } from '../domain/workflow-ids.ts';
import { controlActivities } from './activity-options.ts';
import type { ScheduledVerificationReport, VerifyArchiveReport, VerifyArchiveRequest, VerifyPhase, VerifyProgress } from './contract.ts';
import { progressQuery } from './contract.ts';
import { cancellationOf, failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { renderClusterDetails } from './render-details.ts';
import { StepRecorder } from './step-recorder.ts';

const verifyProgress = defineQuery<VerifyProgress>(progressQuery);

/** Verifies an archive. What is wrong with it is in the report: the workflow fails only when it could not be verified. */
export async function verifyArchive(request: VerifyArchiveRequest): Promise<VerifyArchiveReport> {
  const steps = new StepRecorder<VerifyPhase>('verify', (state) => renderClusterDetails(request.cluster, state));
  setHandler(verifyProgress, () => steps.state, { description: 'Where the verification stands' });
  return await failingAsApplicationFailure(async () => {
    const startedMs = Date.now();
    const { cluster, deep = false } = request;
    const startedAt = workflowInfo().startTime.toISOString();
    try {
      const what = deep ? `Read and hash everything in the archive of ${cluster}` : `Verify the archive of ${cluster} by listing`;
      const report = await steps.run('verify', what, (summary) =>
        controlActivities().verifyArchive(summary, { cluster, deep, id: startedAt, startedAt }),
      );
      steps.enter('done', report.isSound ? `The archive of ${cluster} is sound` : firstFinding(report));
      return { report, steps: steps.state.steps, totalMilliseconds: Date.now() - startedMs };
    } catch (error) {
      const cancellation = cancellationOf(error);
      steps.enter('failed', cancellation === undefined ? walkbackErrorOf(error).message : 'cancelled');
      throw cancellation ?? error;
    }
  });
}

/** What a schedule starts: here errors in the archive are a failure, so that the run is red where somebody looks. */
export async function scheduledVerification(request: VerifyArchiveRequest): Promise<ScheduledVerificationReport> {
  const { cluster, deep = false } = request;
  try {
    const { report } = await executeChild(verifyArchive, {
      workflowId: verifyWorkflowId(cluster),
      args: [{ cluster, deep }],
      parentClosePolicy: 'REQUEST_CANCEL',
      staticSummary: `Scheduled verification of ${cluster}`,
    });
    return await failingAsApplicationFailure(async () => {
      if (report.isSound) return { outcome: 'sound', reportKey: report.reportKey };
      const facts = { errors: report.errors, reportKey: report.reportKey };
      throw new WalkbackError('ARCHIVE_DAMAGED', firstFinding(report), { facts });
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return { outcome: 'skipped', reason: `a verification of ${cluster} is running already` };
  }
}

function firstFinding({ errors, findings }: VerifyArchiveReport['report']): string {
  return `${errors} ${errors === 1 ? 'error' : 'errors'}; the first: ${findings[0]?.text ?? ''}`;
}
