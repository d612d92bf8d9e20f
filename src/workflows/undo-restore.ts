/** A restore is undone: the restored cluster is stopped, and the source that it retired runs again. Nothing is removed. */
import { defineQuery, isCancellation, setHandler } from '@temporalio/workflow';
import type { PlannedUndo } from '../activities/family-types.ts';
import { WalkbackError } from '../domain/errors.ts';
import { hostTaskQueue } from '../domain/task-queues.ts';
import type { UndoReport, UndoRequest } from '../domain/undo-request.ts';
import { controlActivities, hostActivities } from './activity-options.ts';
import { progressQuery, type UndoPhase, type UndoProgress } from './contract.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import { renderClusterDetails } from './render-details.ts';
import { StepRecorder } from './step-recorder.ts';

const undoProgress = defineQuery<UndoProgress>(progressQuery);

/** Brings a retired source back. Fails with a code of domain/errors.ts as the failure's type. */
export async function undoRestore(request: UndoRequest): Promise<UndoReport> {
  const steps = new StepRecorder<UndoPhase>('plan', (state) => renderClusterDetails(request.restoreId, state));
  setHandler(undoProgress, () => steps.state, { description: 'Where the undo stands, and the steps done' });
  return await failingAsApplicationFailure(() => undo(request, steps));
}

async function undo(request: UndoRequest, steps: StepRecorder<UndoPhase>): Promise<UndoReport> {
  const startedMs = Date.now();
  const { restoreId } = request;
  try {
    const planned = await steps.run('plan', `Look what ${restoreId} retired`, (summary) => controlActivities().planUndo(summary, request));
    const { source, child } = planned;
    const isStopped = child !== null && request.child !== 'keep';
    const sharePort = wouldSharePort(planned);
    if (sharePort && !isStopped) throw samePort(planned);
    const sourceHost = hostActivities(hostTaskQueue(source.host));
    // Asked before anything is touched: a source that cannot come back is no reason to stop what runs.
    await steps.run('check-source', `Check that ${source.cluster} on ${source.host} can be brought back`, (summary) =>
      sourceHost.checkRetired(summary, { cluster: source.cluster, restoreId, isPortTaken: sharePort }),
    );
    if (child !== null && isStopped) {
      const host = hostActivities(hostTaskQueue(child.host));
      const input = { cluster: child.name, archiveUrl: child.archiveUrl, target: { kind: 'latest' } } as const;
      await steps.run('stop-child', `Stop ${child.name} on ${child.host}, and archive its last WAL`, (summary) =>
        host.stopSource(summary, input),
      );
    }
    const { cluster, archiveUrl, host } = source;
    const { dataDirectory } = await steps.run('bring-back', `Lift the fence around ${cluster} and start it`, (summary) =>
      sourceHost.bringBackSource(summary, { cluster, archiveUrl, restoreId }),
    );
    steps.enter('done', `${cluster} runs again on ${host}`);
    return {
      restoreId,
      cluster,
      host,
      dataDirectory,
      child: child === null ? null : { name: child.name, host: child.host, isStopped },
      steps: steps.state.steps,
      totalMilliseconds: Date.now() - startedMs,
    };
  } catch (error) {
    const known = isCancellation(error) ? error : walkbackErrorOf(error);
    steps.enter('failed', isCancellation(error) ? 'cancelled' : walkbackErrorOf(error).message);
    throw known;
  }
}

function wouldSharePort({ source, child }: PlannedUndo): boolean {
  return child !== null && child.host === source.host && child.port === source.port;
}

function samePort({ source, child }: PlannedUndo): WalkbackError {
  return new WalkbackError(
    'PORT_IN_USE',
    `${child?.name} and ${source.cluster} would both listen on port ${source.port} of ${source.host}.`,
    {
      hint: 'Let the restored cluster be stopped (`--child stop`), or move one of them to another port first.',
      facts: { port: source.port ?? null },
    },
  );
}
