/** The row counts that a restored cluster is compared with. */
import { readRowBaseline } from '../archive/row-baselines.ts';
import { WalkbackError } from '../domain/errors.ts';
import type { RowBaseline } from '../domain/row-baseline.ts';
import type { HostDependencies } from './dependencies.ts';
import type { RestoreJob } from './types.ts';

/** The baseline that the restore is to be compared with. @throws WalkbackError NOT_FOUND */
export async function baselineOf(dependencies: HostDependencies, job: RestoreJob, signal: AbortSignal): Promise<RowBaseline> {
  const notAfter = job.target.kind === 'time' ? job.target.time : undefined;
  const baseline = await readRowBaseline(dependencies.openStore(job.archiveUrl), { database: job.database, notAfter }, signal);
  if (baseline !== undefined) return baseline;
  throw new WalkbackError(
    'NOT_FOUND',
    `The archive of ${job.cluster} has no baseline of row counts of "${job.database}" from before the target.`,
    {
      hint: `Take one with \`walkback baseline ${job.cluster}\`, or restore without --baseline.`,
      facts: { archive: job.archiveUrl, database: job.database },
    },
  );
}
