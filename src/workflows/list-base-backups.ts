/** Lets a client that cannot reach the archive see what is in it. */
import type { BaseBackup } from '../domain/base-backup.ts';
import { controlActivities } from './activity-options.ts';
import { failingAsApplicationFailure } from './failures.ts';

/** The newest backups of a cluster, oldest first; `limit` keeps the answer small enough for Temporal. */
export async function listBaseBackups(request: { readonly cluster: string; readonly limit: number }): Promise<readonly BaseBackup[]> {
  return await failingAsApplicationFailure(async () => {
    const { value } = await controlActivities().listBaseBackups(`List the base backups of ${request.cluster}`, request);
    return value;
  });
}
