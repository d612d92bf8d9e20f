/** Lets a client that cannot reach the archive see from when to when it can be restored. */
import type { ArchiveWindow } from '../domain/archive-window.ts';
import { controlActivities } from './activity-options.ts';
import { failingAsApplicationFailure } from './failures.ts';

/** The window of a cluster's archive; of long lists the newest. */
export async function readArchiveWindow(request: { readonly cluster: string }): Promise<ArchiveWindow> {
  return await failingAsApplicationFailure(async () => {
    const { value } = await controlActivities().readArchiveWindow(`Read the restore window of ${request.cluster}`, request);
    return value;
  });
}
