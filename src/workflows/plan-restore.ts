/** Tells what a restore would do, and does nothing: no claim, no marker, no flush of the source. */
import type { OutlinedRestore } from '../activities/plan-types.ts';
import { type PlanCheck, refused } from '../domain/plan-check.ts';
import { type PlanReport, planReport } from '../domain/plan-report.ts';
import { describeTarget } from '../domain/recovery-target.ts';
import { type CompleteRestoreRequest, completeRestoreRequest } from '../domain/restore-request.ts';
import type { RestoreRequest } from './contract.ts';
import { failingAsApplicationFailure, walkbackErrorOf } from './failures.ts';
import type { RestoreWorld } from './restore-world.ts';
import { temporalWorld } from './temporal-world.ts';

/** The plan of a restore; what stands in its way is among the checks. */
export async function planRestore(input: RestoreRequest): Promise<PlanReport> {
  return await failingAsApplicationFailure(() => planOf(completeRestoreRequest(input, new Date()), temporalWorld()));
}

/** The same, whoever looks. */
export async function planOf(
  request: CompleteRestoreRequest,
  world: Pick<RestoreWorld, 'control' | 'host' | 'isCancellation'>,
): Promise<PlanReport> {
  const summary = `Look for a way of ${request.cluster} to ${describeTarget(request.target)}`;
  const { value: outlined } = await world.control.outlineRestore(summary, { request });
  return planReport(request, outlined.outline, await checksOnHost(request, outlined, world));
}

/** A host that does not answer is one of the things that stand in the way. */
async function checksOnHost(
  request: CompleteRestoreRequest,
  { archiveUrl, plan }: OutlinedRestore,
  world: Pick<RestoreWorld, 'host' | 'isCancellation'>,
): Promise<readonly PlanCheck[]> {
  const host = world.host(request.host);
  try {
    const { value } = await host.inspectHost(`Look at ${request.dataDirectory} and port ${request.port}`, { request, archiveUrl, plan });
    return value.checks;
  } catch (error) {
    if (world.isCancellation(error)) throw error;
    return [refused('agent', walkbackErrorOf(error, request.host))];
  }
}
