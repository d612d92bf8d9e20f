/** All activities of a database host. */
import { createBackupActivities } from './backup-activities.ts';
import { createExaminationActivities } from './examination-activities.ts';
import type { HostDependencies } from './dependencies.ts';
import { createLandingActivities } from './landing-activities.ts';
import { createRestoreActivities } from './restore-activities.ts';
import { createSalvageActivities } from './salvage-activities.ts';
import { createRetirementActivities } from './retirement-activities.ts';
import { createSourceActivities } from './source-activities.ts';
import type { HostActivities } from './types.ts';

/** Makes the activities of the task queue `walkback-host-<host id>`. */
export function createHostActivities(dependencies: HostDependencies): HostActivities {
  return {
    ...createSourceActivities(dependencies),
    ...createSalvageActivities(dependencies),
    ...createBackupActivities(dependencies),
    ...createRestoreActivities(dependencies),
    ...createRetirementActivities(dependencies),
    ...createExaminationActivities(dependencies),
    ...createLandingActivities(dependencies),
  };
}
