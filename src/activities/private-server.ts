/** The server of a restore once it has landed: it is started again when it is lost. */
import { WalkbackError } from '../domain/errors.ts';
import { startServer, type StartServerOptions } from '../postgres/process-control.ts';
import { settlePromotion } from '../postgres/promotion.ts';
import { launchLogFile } from '../postgres/recovery-settings.ts';
import type { HostDependencies } from './dependencies.ts';
import { assertOurs, installationOf } from './restore-activities.ts';
import type { RestoreJob } from './types.ts';

const startTimeoutMs = 10 * 60_000;
/** Starts after recovery have a log of their own behind those of recovery. */
const restartNumber = 999;
/** A server may be killed while it starts too, and what is left of its words does not tell that from a lasting reason. */
const startsMaximum = 3;

/** Starts a server that has landed and was lost since, by a kill or a crash of one of its processes; one that runs is left as it is. */
export async function keepServerUp(dependencies: HostDependencies, job: RestoreJob, signal: AbortSignal): Promise<void> {
  await assertOurs(job);
  const { dataDirectory } = job;
  const { binDirectory } = await installationOf(dependencies, job);
  await startLandedServer({
    binDirectory,
    dataDirectory,
    logFile: launchLogFile(dataDirectory, restartNumber),
    timeoutMs: startTimeoutMs,
    signal,
    prepare: () => settlePromotion(dataDirectory, job.plan.timeline),
  });
}

/** Until sessions are accepted. @throws WalkbackError as startServer, when the last try failed too */
export async function startLandedServer(options: Omit<StartServerOptions, 'until'>): Promise<void> {
  for (let start = 1; ; start += 1) {
    try {
      await startServer({ ...options, until: 'accepting' });
      return;
    } catch (error) {
      const isLost = error instanceof WalkbackError && error.code === 'POSTGRES_DID_NOT_START';
      if (!isLost || start === startsMaximum) throw error;
    }
  }
}
