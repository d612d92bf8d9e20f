/** `walkback restore --direct`: asks the agent of this host to restore by itself, and follows it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ActivityProgress } from '../activities/types.ts';
import type { DirectRestoreState } from '../agent/protocol.ts';
import { isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { RestoreRequest } from '../domain/restore-request.ts';
import { directRestoreId } from '../domain/workflow-ids.ts';
import { signalOfProcess } from './context.ts';
import { follow } from './follow.ts';
import type { Output } from './output.ts';

const pollIntervalMs = 300;
/** An agent that is restarted goes on; for so long it may be away. */
const agentReturnsWithinMs = 10 * 60_000;

/**
 * Restores and waits for the landing. The first SIGINT cancels the restore, as `walkback cancel` would.
 * @throws WalkbackError AGENT_UNREACHABLE when no agent answers at the beginning, and what the restore fails with
 */
export async function restoreDirectly(socketPath: string, request: RestoreRequest, output: Output): Promise<LandingReport> {
  const { cancelDirectRestore, followDirectRestore } = await import('../agent/client.ts');
  const restoreId = directRestoreId(request.host, request.dataDirectory);
  const asked = { asker: randomUUID(), request: { ...request } };
  let state = await followDirectRestore(socketPath, asked);
  output.note(
    `The agent restores by itself, without Temporal (${restoreId}). Should this command end early, the same command goes on with it.`,
  );
  const signal = signalOfProcess();
  const cancel = async (): Promise<void> => {
    try {
      await cancelDirectRestore(socketPath, restoreId);
    } catch (error) {
      output.note(`The restore could not be cancelled: ${messageOf(error)}`);
    }
  };
  signal.addEventListener('abort', () => void cancel(), { once: true });
  const result = async (): Promise<LandingReport> => {
    let awaySinceMs: number | undefined;
    while (state.ended === null) {
      await delay(pollIntervalMs);
      try {
        state = await followDirectRestore(socketPath, asked);
        awaySinceMs = undefined;
      } catch (error) {
        awaySinceMs ??= Date.now();
        if (!isAway(error) || Date.now() - awaySinceMs > agentReturnsWithinMs) throw error;
      }
    }
    return reportOf(state.ended);
  };
  const progress = async () => {
    const { phase, summary, steps, activity } = state;
    return { phase, summary, steps, waitingFor: null, status: 'running', activity: activity as ActivityProgress } as const;
  };
  return await follow({ result, progress }, output);
}

function isAway(error: unknown): boolean {
  return error instanceof WalkbackError && error.code === 'AGENT_UNREACHABLE';
}

function reportOf(ended: NonNullable<DirectRestoreState['ended']>): LandingReport {
  if ('report' in ended) return ended.report as unknown as LandingReport;
  const { code, message, hint, facts } = ended.error;
  throw new WalkbackError(isErrorCode(code) ? code : 'INTERNAL', message, { hint, facts });
}
