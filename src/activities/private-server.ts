/** The server of a restore while nobody but us gets in. */
import { startServer } from '../postgres/process-control.ts';
import { settlePromotion } from '../postgres/promotion.ts';
import { launchLogFile } from '../postgres/recovery-settings.ts';
import type { HostDependencies } from './dependencies.ts';
import { assertOurs, installationOf } from './restore-activities.ts';
import type { RestoreJob } from './types.ts';

const startTimeoutMs = 10 * 60_000;
/** Starts after recovery have a log of their own behind those of recovery. */
const restartNumber = 999;

/** Starts a server that has landed and was lost since, by a kill or a crash of one of its processes; one that runs is left as it is. */
export async function keepServerUp(dependencies: HostDependencies, job: RestoreJob, signal: AbortSignal): Promise<void> {
  await assertOurs(job);
  const { dataDirectory } = job;
  const { binDirectory } = await installationOf(dependencies, job);
  await startServer({
    binDirectory,
    dataDirectory,
    logFile: launchLogFile(dataDirectory, restartNumber),
    timeoutMs: startTimeoutMs,
    until: 'accepting',
    signal,
    prepare: () => settlePromotion(dataDirectory, job.plan.timeline),
  });
}
