/** Restores without Temporal: the agent of this host is asked, and followed, over its socket. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { DirectDecision, DirectRestoreState } from '../agent/protocol.ts';
import type { RestoreHandle } from '../client/handles.ts';
import { isErrorCode, messageOf, WalkbackError } from '../domain/errors.ts';
import type { LandingReport } from '../domain/landing-report.ts';
import type { PlanReport } from '../domain/plan-report.ts';
import type { RestoreRequest } from '../domain/restore-request.ts';
import { directRestoreId } from '../domain/workflow-ids.ts';
import type { RestorePhase } from '../workflows/contract.ts';
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
  const { followDirectRestore } = await import('../agent/client.ts');
  const restoreId = directRestoreId(request.host, request.dataDirectory);
  const asked = { asker: randomUUID(), request: { ...request } };
  await followDirectRestore(socketPath, asked);
  output.note(
    `The agent restores by itself, without Temporal (${restoreId}). Should this command end early, the same command goes on with it.`,
  );
  const handle = directHandle(socketPath, restoreId, () => followDirectRestore(socketPath, asked));
  const cancel = async (): Promise<void> => {
    try {
      await handle.cancel();
    } catch (error) {
      output.note(`The restore could not be cancelled: ${messageOf(error)}`);
    }
  };
  signalOfProcess().addEventListener('abort', () => void cancel(), { once: true });
  return await follow(handle, output);
}

/** What such a restore would do. @throws WalkbackError AGENT_UNREACHABLE, INVALID_REQUEST */
export async function planDirectly(socketPath: string, request: RestoreRequest): Promise<PlanReport> {
  const { planDirectRestore } = await import('../agent/client.ts');
  return (await planDirectRestore(socketPath, { ...request })) as unknown as PlanReport;
}

/**
 * A restore that the agent of this host runs, as the client library gives those that Temporal runs.
 * @param look how it is followed; default: by its id, which begins nothing
 */
export function directHandle(socketPath: string, restoreId: string, look?: () => Promise<DirectRestoreState>): RestoreHandle {
  const state = look ?? (async () => (await import('../agent/client.ts')).directRestoreState(socketPath, restoreId));
  const decide = async (kind: DirectDecision['kind'], input: object) => {
    const { decideDirectRestore } = await import('../agent/client.ts');
    await decideDirectRestore(socketPath, { restoreId, kind, input: { ...input } });
    return { accepted: true } as const;
  };
  return {
    workflowId: restoreId,
    progress: async () => {
      const { phase, summary, waitingFor, steps, activity, ended } = await state();
      // Phases are named by the story, which is the same on both sides of the socket.
      const told = { phase: phase as RestorePhase, summary, waitingFor, steps };
      return { ...told, status: statusOf(ended), activity };
    },
    result: async () => reportOf(await untilEnded(state)),
    cancel: async () => {
      const { cancelDirectRestore } = await import('../agent/client.ts');
      await cancelDirectRestore(socketPath, restoreId);
    },
    promote: (input = {}) => decide('promote', input),
    advance: (input) => decide('advance', input),
    retry: (input = {}) => decide('retry', input),
    abort: (input) => decide('abort', input),
  };
}

async function untilEnded(state: () => Promise<DirectRestoreState>): Promise<Ended> {
  let awaySinceMs: number | undefined;
  for (;;) {
    try {
      const { ended } = await state();
      if (ended !== null) return ended;
      awaySinceMs = undefined;
    } catch (error) {
      awaySinceMs ??= performance.now();
      if (!isAway(error) || performance.now() - awaySinceMs > agentReturnsWithinMs) throw error;
    }
    await delay(pollIntervalMs);
  }
}

type Ended = NonNullable<DirectRestoreState['ended']>;

function isAway(error: unknown): boolean {
  return error instanceof WalkbackError && error.code === 'AGENT_UNREACHABLE';
}

function statusOf(ended: Ended | null): 'running' | 'completed' | 'failed' | 'cancelled' {
  if (ended === null) return 'running';
  if ('report' in ended) return 'completed';
  return ended.error.code === 'CANCELLED' ? 'cancelled' : 'failed';
}

function reportOf(ended: Ended): LandingReport {
  if ('report' in ended) return ended.report as unknown as LandingReport;
  const { code, message, hint, facts } = ended.error;
  throw new WalkbackError(isErrorCode(code) ? code : 'INTERNAL', message, { hint, facts });
}
