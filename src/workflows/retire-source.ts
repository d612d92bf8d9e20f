/** A source that the restore replaces is put behind a fence; when the restore comes to no good end, the fence is lifted. */
import type { ClusterPlace } from '../activities/types.ts';
import type { RetiredSource } from '../domain/landing-report.ts';
import type { CompleteRestoreRequest } from '../domain/restore-request.ts';
import { walkbackErrorOf } from './failures.ts';
import type { RestoreSteps } from './restore-steps.ts';

const hourMs = 3_600_000;

/** Which source, and for which restore. */
interface Retirement {
  readonly place: ClusterPlace;
  readonly restoreId: string;
  readonly steps: RestoreSteps;
}

/** Retires the source when the request says so; it is stopped by then. */
export async function retireSource({ retireHours }: CompleteRestoreRequest, context: Retirement): Promise<RetiredSource | null> {
  if (retireHours === undefined) return null;
  const { place, restoreId, steps } = context;
  const { cluster, host } = place;
  const keepUntil = new Date(Date.now() + retireHours * hourMs).toISOString();
  const fenced = await steps.run(
    'retire-source',
    `Put a fence around ${cluster} on ${host}, so that nobody starts it by accident`,
    (summary) => steps.world.host(host).retireSource(summary, { cluster, restoreId, keepUntil }),
  );
  return { cluster, host, ...fenced };
}

/** @returns a sentence for the error, with a space before it; empty when there is no fence */
export async function liftSourceFence({ retireHours }: CompleteRestoreRequest, context: Retirement): Promise<string> {
  if (retireHours === undefined) return '';
  const { place, restoreId, steps } = context;
  const { cluster, host } = place;
  try {
    await steps.world.host(host).liftSourceFence(`Lift the fence around ${cluster}`, { cluster, restoreId });
    return ` ${cluster} on ${host} is stopped and can be started again.`;
  } catch (error) {
    return ` The fence around ${cluster} on ${host} could not be lifted: ${walkbackErrorOf(error, host).message} \`walkback undo ${restoreId} --cluster ${cluster}\` does it.`;
  }
}
