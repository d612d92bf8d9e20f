/** Let a client that cannot reach the archives read a landing report, or see who was restored from whom. */
import type { LandingReport } from '../domain/landing-report.ts';
import type { Lineage } from '../domain/lineage.ts';
import { controlActivities } from './activity-options.ts';
import { failingAsApplicationFailure } from './failures.ts';

/** The landing report of a restore, by its id or by the name of the restored cluster. */
export async function readLandingReport(request: { readonly of: string }): Promise<LandingReport> {
  return await failingAsApplicationFailure(async () => {
    const { value } = await controlActivities().readLandingReport(`Read the landing report of ${request.of}`, request);
    return value;
  });
}

/** The family of a cluster; of a large one as much as an answer holds. */
export async function readLineage(request: { readonly cluster: string }): Promise<Lineage> {
  return await failingAsApplicationFailure(async () => {
    const { value } = await controlActivities().readLineage(`Read who was restored from whom around ${request.cluster}`, request);
    return value;
  });
}
