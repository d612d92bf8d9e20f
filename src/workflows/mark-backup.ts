/** Marks a base backup as permanent, or takes the mark away. */
import { controlActivities } from './activity-options.ts';
import type { MarkBackupRequest } from './contract.ts';
import { failingAsApplicationFailure } from './failures.ts';

/** @returns the backups whose mark was changed */
export async function markBackup(request: MarkBackupRequest): Promise<readonly string[]> {
  return await failingAsApplicationFailure(async () => {
    const mark = request.isPermanent ? 'permanent' : 'impermanent';
    const { value } = await controlActivities().markBackup(`Mark ${request.backup} as ${mark}`, request);
    return value;
  });
}
